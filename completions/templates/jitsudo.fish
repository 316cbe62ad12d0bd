# fish completion of jitsudo(1).
# @MADE@

set -g __jitsudo_groups @GROUPS@
set -g __jitsudo_taking @TAKING@
set -g __jitsudo_remainder @REMAINDER@

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
    @HELPER@ $argv[1] 2>/dev/null </dev/null
end

complete -c jitsudo -f
@LINES@
