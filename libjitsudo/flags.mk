# How jitsudo's C is compiled, linked and checked, for the Makefiles that include this: the library's own, the PAM module's and
# those of sudo's native plugins. They set INCLUDES, the part's own options for the preprocessor, and SUDO_INCLUDE where they need
# sudo's header.
CFLAGS ?= -O2 -g
SANITIZE ?=
# The sanitizers and glibc's checks get in each other's way.
FORTIFY = $(if $(SANITIZE),,-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3)
HARDENING = $(FORTIFY) -fstack-protector-strong -fstack-clash-protection -fPIC -fvisibility=hidden
WARNINGS = -std=c11 -Wall -Wextra -Werror -Wshadow -Wpointer-arith -Wcast-qual -Wstrict-prototypes -Wmissing-prototypes \
	-Wformat=2 -Wconversion -Wswitch-enum -Wvla
COMPILE = $(CC) $(CPPFLAGS) $(SUDO_INCLUDE:%=-I%) $(INCLUDES) $(CFLAGS) $(HARDENING) $(WARNINGS) $(SANITIZE)
LINKING = -Wl,-z,relro,-z,now,-z,noexecstack,--as-needed
SHARED = -shared $(LINKING),-z,defs,-z,text,--exclude-libs,ALL

# $(call CHECK,SOURCES): by the compiler's analyser and cppcheck, which cannot read libc's headers; writes nothing.
define CHECK
set -e; for source in $(1); do $(COMPILE) -fanalyzer -c -o /dev/null $$source; done
cppcheck --quiet --std=c11 --enable=warning,performance,portability --suppress=normalCheckLevelMaxBranches \
    --error-exitcode=1 --inline-suppr $(INCLUDES) $(1)
endef
