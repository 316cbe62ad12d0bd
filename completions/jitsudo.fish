# fish completion of jitsudo(1).
# Made by scripts/completions from the parser of the command line; change that, not this.

set -g __jitsudo_groups '' 'setup' 'policy' 'clock'
set -g __jitsudo_taking 'request --for' 'request --reason' 'request --uses' 'request --timeout' 'again --reason' 'again --timeout' 'approve --for' 'approve --note' 'deny --reason' 'revoke --reason' 'explain -u' 'explain --user' 'doctor --only' 'setup enable --front-end' 'setup enable --confirm-within' 'setup enable --waive' 'setup report --since' 'policy check --format' 'policy check --grammars' 'policy test --format' 'policy test --grammars' 'policy test --role' 'policy explain --as' 'policy explain --group' 'policy explain --role' 'policy explain -u' 'policy explain --user' 'policy explain --cwd' 'policy explain --at' 'policy explain --source' 'policy explain --file'
set -g __jitsudo_remainder 'explain' 'policy explain'

# Reads the words before the cursor once for each of them: the command, how many operands it has, where its rest begins.
function __jitsudo_read
    set -l words (commandline -opc)
    test "$words" = "$__jitsudo_words"; and set -q __jitsudo_path; and return
    set -g __jitsudo_words $words
    set -g __jitsudo_path ''
    set -g __jitsudo_operands 0
    set -g __jitsudo_start 0
    set -l awaited 0
    for i in (seq 2 (count $words))
        set -l word $words[$i]
        if test $awaited = 1
            set awaited 0
        else if test "$word" = --
            set __jitsudo_start (math $i + 1)
            return
        else if string match -q -- '-*' $word
            contains -- "$__jitsudo_path $word" $__jitsudo_taking; and set awaited 1
        else if contains -- "$__jitsudo_path" $__jitsudo_groups
            set __jitsudo_path (string trim -- "$__jitsudo_path $word")
        else if contains -- "$__jitsudo_path" $__jitsudo_remainder
            set __jitsudo_start $i
            return
        else
            set __jitsudo_operands (math $__jitsudo_operands + 1)
        end
    end
end

function __jitsudo_at # COMMAND [OPERANDS | rest]
    __jitsudo_read
    test "$__jitsudo_path" = "$argv[1]"; or return
    if test "$argv[2]" = rest
        return 0
    end
    test $__jitsudo_start = 0; or return
    test -z "$argv[2]"; or test $__jitsudo_operands = $argv[2]
end

function __jitsudo_rest
    __jitsudo_read
    set -l words (commandline -opc)
    test $__jitsudo_start = 0; and set -l words; or set -l words $words[$__jitsudo_start..]
    complete -C (string join -- ' ' (string escape -- $words) (commandline -ct))
end

function __jitsudo_live # KIND: from the daemon
    /usr/libexec/jitsudo/jitsudo-complete $argv[1] 2>/dev/null </dev/null
end

complete -c jitsudo -f
complete -c jitsudo -n "__jitsudo_at ''" -a request -d 'ask for a role'
complete -c jitsudo -n "__jitsudo_at ''" -a again -d 'ask once more for what I asked for last'
complete -c jitsudo -n "__jitsudo_at ''" -a requests -d 'list requests that are mine, or mine to approve'
complete -c jitsudo -n "__jitsudo_at ''" -a approve -d 'approve a request, after showing it and asking who you are'
complete -c jitsudo -n "__jitsudo_at ''" -a deny -d 'deny a request'
complete -c jitsudo -n "__jitsudo_at ''" -a cancel -d 'take a request of mine back'
complete -c jitsudo -n "__jitsudo_at ''" -a status -d 'show my grants and requests'
complete -c jitsudo -n "__jitsudo_at ''" -a return -d 'give a grant back; what runs under it ends'
complete -c jitsudo -n "__jitsudo_at ''" -a revoke -d 'end a grant at once (root, and the role\'s approvers)'
complete -c jitsudo -n "__jitsudo_at ''" -a roles -d 'show the roles that are open to me'
complete -c jitsudo -n "__jitsudo_at ''" -a explain -d 'why I may, or may not, run a command now'
complete -c jitsudo -n "__jitsudo_at ''" -a doctor -d 'what is wrong with this host, and what cures it; changes nothing'
complete -c jitsudo -n "__jitsudo_at ''" -a setup -d 'put jitsudo in front of root, and take it away again'
complete -c jitsudo -n "__jitsudo_at ''" -a policy -d 'check, test, explain, edit and lay out the policy; load it'
complete -c jitsudo -n "__jitsudo_at ''" -a clock -d 'accept: accept the clock as it is, after it was set back (root)'
complete -c jitsudo -n "__jitsudo_at ''" -s h -l help -d 'show this help message and exit'
complete -c jitsudo -n "__jitsudo_at ''" -l version -d 'show program\'s version number and exit'
complete -c jitsudo -n "__jitsudo_at 'request'" -s h -l help -d 'show this help message and exit'
complete -c jitsudo -n "__jitsudo_at 'request'" -l json -d 'for programs'
complete -c jitsudo -n "__jitsudo_at 'request'" -l for -x -a '15m 30m 1h 2h 4h 8h' -d 'e.g. 30m, 1h30m'
complete -c jitsudo -n "__jitsudo_at 'request'" -l reason -x -d 'why, as the approver will read it'
complete -c jitsudo -n "__jitsudo_at 'request'" -l uses -x -d 'for N commands only'
complete -c jitsudo -n "__jitsudo_at 'request'" -l wait -d 'until it is decided; exit status 4 if it is not in time'
complete -c jitsudo -n "__jitsudo_at 'request'" -l timeout -x -a '15m 30m 1h 2h 4h 8h' -d 'with --wait: at most for this time'
complete -c jitsudo -n "__jitsudo_at 'request' 0" -a '(__jitsudo_live roles)'
complete -c jitsudo -n "__jitsudo_at 'again'" -s h -l help -d 'show this help message and exit'
complete -c jitsudo -n "__jitsudo_at 'again'" -l json -d 'for programs'
complete -c jitsudo -n "__jitsudo_at 'again'" -l reason -x -d 'another reason than last time'
complete -c jitsudo -n "__jitsudo_at 'again'" -l wait -d 'until it is decided; exit status 4 if it is not in time'
complete -c jitsudo -n "__jitsudo_at 'again'" -l timeout -x -a '15m 30m 1h 2h 4h 8h' -d 'with --wait: at most for this time'
complete -c jitsudo -n "__jitsudo_at 'requests'" -s h -l help -d 'show this help message and exit'
complete -c jitsudo -n "__jitsudo_at 'requests'" -l json -d 'for programs'
complete -c jitsudo -n "__jitsudo_at 'requests'" -l all -d 'those that are decided, too'
complete -c jitsudo -n "__jitsudo_at 'approve'" -s h -l help -d 'show this help message and exit'
complete -c jitsudo -n "__jitsudo_at 'approve'" -l json -d 'for programs'
complete -c jitsudo -n "__jitsudo_at 'approve'" -l for -x -a '15m 30m 1h 2h 4h 8h' -d 'at most for this time'
complete -c jitsudo -n "__jitsudo_at 'approve'" -l note -x -d 'to be kept with the approval'
complete -c jitsudo -n "__jitsudo_at 'approve'" -s S -l stdin -d 'read the password from standard input'
complete -c jitsudo -n "__jitsudo_at 'approve' 0" -a '(__jitsudo_live requests-to-decide)'
complete -c jitsudo -n "__jitsudo_at 'deny'" -s h -l help -d 'show this help message and exit'
complete -c jitsudo -n "__jitsudo_at 'deny'" -l json -d 'for programs'
complete -c jitsudo -n "__jitsudo_at 'deny'" -l reason -x -d 'TEXT'
complete -c jitsudo -n "__jitsudo_at 'deny' 0" -a '(__jitsudo_live requests-to-decide)'
complete -c jitsudo -n "__jitsudo_at 'cancel'" -s h -l help -d 'show this help message and exit'
complete -c jitsudo -n "__jitsudo_at 'cancel'" -l json -d 'for programs'
complete -c jitsudo -n "__jitsudo_at 'cancel' 0" -a '(__jitsudo_live requests-of-mine)'
complete -c jitsudo -n "__jitsudo_at 'status'" -s h -l help -d 'show this help message and exit'
complete -c jitsudo -n "__jitsudo_at 'status'" -l json -d 'for programs'
complete -c jitsudo -n "__jitsudo_at 'status'" -l short -d 'one line, for a prompt'
complete -c jitsudo -n "__jitsudo_at 'status'" -l all -d 'those of others, too, that I may revoke or approve'
complete -c jitsudo -n "__jitsudo_at 'return'" -s h -l help -d 'show this help message and exit'
complete -c jitsudo -n "__jitsudo_at 'return'" -l json -d 'for programs'
complete -c jitsudo -n "__jitsudo_at 'return'" -l all -d 'ALL'
complete -c jitsudo -n "__jitsudo_at 'return' 0" -a '(__jitsudo_live grants-of-mine)'
complete -c jitsudo -n "__jitsudo_at 'revoke'" -s h -l help -d 'show this help message and exit'
complete -c jitsudo -n "__jitsudo_at 'revoke'" -l json -d 'for programs'
complete -c jitsudo -n "__jitsudo_at 'revoke'" -l reason -x -d 'TEXT'
complete -c jitsudo -n "__jitsudo_at 'revoke' 0" -a '(__jitsudo_live grants)'
complete -c jitsudo -n "__jitsudo_at 'roles'" -s h -l help -d 'show this help message and exit'
complete -c jitsudo -n "__jitsudo_at 'roles'" -l json -d 'for programs'
complete -c jitsudo -n "__jitsudo_at 'explain'" -s h -l help -d 'show this help message and exit'
complete -c jitsudo -n "__jitsudo_at 'explain'" -l json -d 'for programs'
complete -c jitsudo -n "__jitsudo_at 'explain'" -s u -l user -x -a '(__fish_complete_users)' -d 'as this user (root)'
complete -c jitsudo -n "__jitsudo_at 'explain' rest" -a '(__jitsudo_rest)'
complete -c jitsudo -n "__jitsudo_at 'doctor'" -s h -l help -d 'show this help message and exit'
complete -c jitsudo -n "__jitsudo_at 'doctor'" -l json -d 'for programs'
complete -c jitsudo -n "__jitsudo_at 'doctor'" -l only -x -a 'sudo host front-end files keys sockets daemon journald clock policy recording pam units accounts setup side-doors' -d 'this area alone, may be repeated: sudo, host, front-end, files, keys, sockets, daemon, journald, clock, policy, recording, pam, units, accounts, setup, side-doors'
complete -c jitsudo -n "__jitsudo_at 'doctor'" -l all -d 'also what is in order'
complete -c jitsudo -n "__jitsudo_at 'doctor'" -l strict -d 'exit status 1 for warnings, too'
complete -c jitsudo -n "__jitsudo_at 'setup'" -a enable -d 'let jitsudo decide, after every check, until it is confirmed or put back (root)'
complete -c jitsudo -n "__jitsudo_at 'setup'" -a confirm -d 'jitsudo lets you in: let it stay (root, from another login than the one that enabled)'
complete -c jitsudo -n "__jitsudo_at 'setup'" -a disable -d 'take jitsudo out of sudo: everything is as it was before (root)'
complete -c jitsudo -n "__jitsudo_at 'setup'" -a rollback -d 'put back whatever an enable has changed, finished or not (root)'
complete -c jitsudo -n "__jitsudo_at 'setup'" -a status -d 'what is in force, since when, by whom, and what is not as setup left it (root)'
complete -c jitsudo -n "__jitsudo_at 'setup'" -a verify -d 'whether sudo loads jitsudo after an upgrade; if not, fall back (root)'
complete -c jitsudo -n "__jitsudo_at 'setup'" -a observe -d 'let sudoers decide, and have jitsudo note what sudo does and what it would have said (root)'
complete -c jitsudo -n "__jitsudo_at 'setup'" -a report -d 'what would break with jitsudo, for whom, and what helps (root)'
complete -c jitsudo -n "__jitsudo_at 'setup'" -s h -l help -d 'show this help message and exit'
complete -c jitsudo -n "__jitsudo_at 'setup enable'" -s h -l help -d 'show this help message and exit'
complete -c jitsudo -n "__jitsudo_at 'setup enable'" -l json -d 'for programs'
complete -c jitsudo -n "__jitsudo_at 'setup enable'" -l front-end -x -a 'python native pam' -d 'python, native or pam; native by default (see jitsudo doctor)'
complete -c jitsudo -n "__jitsudo_at 'setup enable'" -l confirm-within -x -a '15m 30m 1h 2h 4h 8h' -d 'put everything back if nobody has confirmed by then; 10m by default'
complete -c jitsudo -n "__jitsudo_at 'setup enable'" -l waive -x -d 'do without this, as the problem names it; may be repeated'
complete -c jitsudo -n "__jitsudo_at 'setup enable'" -l check -d 'make every check and change nothing'
complete -c jitsudo -n "__jitsudo_at 'setup confirm'" -s h -l help -d 'show this help message and exit'
complete -c jitsudo -n "__jitsudo_at 'setup confirm'" -l json -d 'for programs'
complete -c jitsudo -n "__jitsudo_at 'setup disable'" -s h -l help -d 'show this help message and exit'
complete -c jitsudo -n "__jitsudo_at 'setup disable'" -l json -d 'for programs'
complete -c jitsudo -n "__jitsudo_at 'setup disable'" -l force -d 'also what somebody has edited since; it is put aside'
complete -c jitsudo -n "__jitsudo_at 'setup rollback'" -s h -l help -d 'show this help message and exit'
complete -c jitsudo -n "__jitsudo_at 'setup rollback'" -l json -d 'for programs'
complete -c jitsudo -n "__jitsudo_at 'setup rollback'" -l force -d 'also what somebody has edited since; it is put aside'
complete -c jitsudo -n "__jitsudo_at 'setup status'" -s h -l help -d 'show this help message and exit'
complete -c jitsudo -n "__jitsudo_at 'setup status'" -l json -d 'for programs'
complete -c jitsudo -n "__jitsudo_at 'setup verify'" -s h -l help -d 'show this help message and exit'
complete -c jitsudo -n "__jitsudo_at 'setup verify'" -l json -d 'for programs'
complete -c jitsudo -n "__jitsudo_at 'setup observe'" -s h -l help -d 'show this help message and exit'
complete -c jitsudo -n "__jitsudo_at 'setup observe'" -l json -d 'for programs'
complete -c jitsudo -n "__jitsudo_at 'setup observe'" -l off -d 'observe no more; what was noted stays'
complete -c jitsudo -n "__jitsudo_at 'setup report'" -s h -l help -d 'show this help message and exit'
complete -c jitsudo -n "__jitsudo_at 'setup report'" -l json -d 'for programs'
complete -c jitsudo -n "__jitsudo_at 'setup report'" -l since -x -a '15m 30m 1h 2h 4h 8h' -d 'only what happened since then: 7d, 12h, 2026-11-24'
complete -c jitsudo -n "__jitsudo_at 'policy'" -a check -d 'find what is wrong with a policy'
complete -c jitsudo -n "__jitsudo_at 'policy'" -a test -d 'run a policy\'s tests'
complete -c jitsudo -n "__jitsudo_at 'policy'" -a explain -d 'say what a policy says of a command'
complete -c jitsudo -n "__jitsudo_at 'policy'" -a edit -d 'edit a file of the policy (root)'
complete -c jitsudo -n "__jitsudo_at 'policy'" -a schema -d 'print the JSON Schema of policy files, for editors'
complete -c jitsudo -n "__jitsudo_at 'policy'" -a fmt -d 'lay policy files out'
complete -c jitsudo -n "__jitsudo_at 'policy'" -a reload -d 'load /etc/jitsudo/policy.d; answers when in force (root)'
complete -c jitsudo -n "__jitsudo_at 'policy'" -s h -l help -d 'show this help message and exit'
complete -c jitsudo -n "__jitsudo_at 'policy check'" -s h -l help -d 'show this help message and exit'
complete -c jitsudo -n "__jitsudo_at 'policy check'" -l json -d 'for programs'
complete -c jitsudo -n "__jitsudo_at 'policy check'" -l format -x -a 'text json sarif' -d 'text, json, or sarif for code review'
complete -c jitsudo -n "__jitsudo_at 'policy check'" -l grammars -x -a '(__fish_complete_directories (commandline -ct))' -d 'more grammars (repeatable)'
complete -c jitsudo -n "__jitsudo_at 'policy check'" -l strict -d 'status 1 on warnings, too'
complete -c jitsudo -n "__jitsudo_at 'policy check'" -l no-lint -d 'parse and test only'
complete -c jitsudo -n "__jitsudo_at 'policy check'" -F
complete -c jitsudo -n "__jitsudo_at 'policy test'" -s h -l help -d 'show this help message and exit'
complete -c jitsudo -n "__jitsudo_at 'policy test'" -l json -d 'for programs'
complete -c jitsudo -n "__jitsudo_at 'policy test'" -l format -x -a 'text json sarif' -d 'text, json, or sarif for code review'
complete -c jitsudo -n "__jitsudo_at 'policy test'" -l grammars -x -a '(__fish_complete_directories (commandline -ct))' -d 'more grammars (repeatable)'
complete -c jitsudo -n "__jitsudo_at 'policy test'" -l role -x -a '(__jitsudo_live roles)' -d 'this role\'s tests only'
complete -c jitsudo -n "__jitsudo_at 'policy test'" -s v -l verbose -d 'show each test, and why'
complete -c jitsudo -n "__jitsudo_at 'policy test'" -F
complete -c jitsudo -n "__jitsudo_at 'policy explain'" -s h -l help -d 'show this help message and exit'
complete -c jitsudo -n "__jitsudo_at 'policy explain'" -l json -d 'for programs'
complete -c jitsudo -n "__jitsudo_at 'policy explain'" -l as -x -a '(__fish_complete_users)' -d 'who would run it'
complete -c jitsudo -n "__jitsudo_at 'policy explain'" -l group -x -a '(__fish_complete_groups)' -d 'of the person (repeatable)'
complete -c jitsudo -n "__jitsudo_at 'policy explain'" -l role -x -a '(__jitsudo_live roles)' -d 'this role only, even if it is not open to the person'
complete -c jitsudo -n "__jitsudo_at 'policy explain'" -s u -l user -x -a '(__fish_complete_users)' -d 'as this user'
complete -c jitsudo -n "__jitsudo_at 'policy explain'" -l cwd -x -a '(__fish_complete_directories (commandline -ct))' -d 'where it would be run; / if left out'
complete -c jitsudo -n "__jitsudo_at 'policy explain'" -l at -x -d 'when: \'Mon 22:30\', \'2026-12-24 22:30\''
complete -c jitsudo -n "__jitsudo_at 'policy explain'" -l source -x -d 'where the login comes from; local; unknown'
complete -c jitsudo -n "__jitsudo_at 'policy explain'" -l file -r -F -d 'of the policy (repeatable)'
complete -c jitsudo -n "__jitsudo_at 'policy explain' rest" -a '(__jitsudo_rest)'
complete -c jitsudo -n "__jitsudo_at 'policy edit'" -s h -l help -d 'show this help message and exit'
complete -c jitsudo -n "__jitsudo_at 'policy edit'" -l json -d 'for programs'
complete -c jitsudo -n "__jitsudo_at 'policy edit' 0" -F
complete -c jitsudo -n "__jitsudo_at 'policy schema'" -s h -l help -d 'show this help message and exit'
complete -c jitsudo -n "__jitsudo_at 'policy schema'" -l json -d 'for programs'
complete -c jitsudo -n "__jitsudo_at 'policy fmt'" -s h -l help -d 'show this help message and exit'
complete -c jitsudo -n "__jitsudo_at 'policy fmt'" -l json -d 'for programs'
complete -c jitsudo -n "__jitsudo_at 'policy fmt'" -l check -d 'change nothing; status 1 if a file would change'
complete -c jitsudo -n "__jitsudo_at 'policy fmt'" -l diff -d 'change nothing; show what would change'
complete -c jitsudo -n "__jitsudo_at 'policy fmt'" -F
complete -c jitsudo -n "__jitsudo_at 'policy reload'" -s h -l help -d 'show this help message and exit'
complete -c jitsudo -n "__jitsudo_at 'policy reload'" -l json -d 'for programs'
complete -c jitsudo -n "__jitsudo_at 'clock'" -a accept -d 'accept the clock as it is, after it was set back'
complete -c jitsudo -n "__jitsudo_at 'clock'" -s h -l help -d 'show this help message and exit'
complete -c jitsudo -n "__jitsudo_at 'clock accept'" -s h -l help -d 'show this help message and exit'
complete -c jitsudo -n "__jitsudo_at 'clock accept'" -l json -d 'for programs'
