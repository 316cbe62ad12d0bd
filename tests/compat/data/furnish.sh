# What the cases expect on a host, stock or with jitsudo.
set -euo pipefail
umask 022
install -d -m 0777 /run/compat
install -m 0666 /dev/null /run/compat/found
install -d /srv/compat /srv/compat/edit $'/srv/compat/caf\xc3\xa9'
install -d -m 0777 /srv/compat/open
long=/srv/compat
for _ in {1..10}; do long+=/$(printf 'd%.0s' {1..200}); done
install -d "$long"
ln -sfn /tmp /srv/compat/link
printf 'listen 80;\n' | tee /srv/compat/edit/site.conf >/srv/compat/edit/other.conf
ln -sfn site.conf /srv/compat/edit/link.conf
ln -sfn probe /usr/local/bin/link-to-probe
printf '#!/bin/sh\nfor last; do :; done\nfor file; do [ "$file" != -- ] && [ -f "$file" ] && echo "# edited" >>"$file"; done\n' >/usr/local/bin/append
sed '$ s/$/\nexit 3/' /usr/local/bin/append >/usr/local/bin/append-and-fail
ln -sfn /usr/local/bin/append /etc/alternatives/editor
printf '#!/bin/sh\necho bob\n' >/usr/local/bin/askpass
chmod 0755 /usr/local/bin/{append,append-and-fail,askpass}
install -d -o alice -g alice -m 0700 /home/alice/private
install -d -o alice -g alice /home/alice/bin
install -o alice -g alice -m 0755 /bin/true /home/alice/bin/onlyhere
install -o alice -g alice -m 0755 /bin/true /home/alice/evil
install -o alice -g alice -m 0644 /dev/null /home/alice/mine
