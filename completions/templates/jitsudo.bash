# bash completion of jitsudo(1), loaded by bash-completion or sourced by hand.
# @MADE@

_jitsudo_below() { # COMMAND: its sub-commands
    below=()
    case $1 in
@BELOW@
    esac
}

_jitsudo_options() { # COMMAND: its options
    options=()
    case $1 in
@OPTIONS@
    esac
}

_jitsudo_value() { # "COMMAND OPTION": what completes its value; fails if it takes none
    kind='' choices=''
    case $1 in
@VALUES@
        *) return 1 ;;
    esac
}

_jitsudo_operand() { # "COMMAND INDEX": what completes this operand
    kind='' choices=''
    case $1 in
@OPERANDS@
    esac
}

_jitsudo_offer() { # WORD...: those that go on from what is typed
    local word
    for word; do
        [[ $word != "$cur"* ]] || COMPREPLY+=("$word")
    done
}

_jitsudo_live() { # KIND: from the daemon
    local value
    while IFS=$'\t' read -r value _; do
        _jitsudo_offer "$value"
    done < <(@HELPER@ "$1" 2>/dev/null </dev/null)
}

_jitsudo_complete() { # KIND CHOICES START: START is where a command line of its own begins
    case $1 in
        @LIVE@) _jitsudo_live "$1" ;;
        choices) # words of the parser, without spaces
            # shellcheck disable=SC2086
            _jitsudo_offer $2 ;;
        times) _jitsudo_offer @TIMES@ ;;
        files) compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- "$cur") ;;
        folders) compopt -o filenames; mapfile -t COMPREPLY < <(compgen -d -- "$cur") ;;
        users) mapfile -t COMPREPLY < <(compgen -u -- "$cur") ;;
        groups) mapfile -t COMPREPLY < <(compgen -g -- "$cur") ;;
        command)
            if declare -F _command_offset >/dev/null; then
                _command_offset "$3"
            elif (($3 == COMP_CWORD)); then
                mapfile -t COMPREPLY < <(compgen -c -- "$cur")
            fi ;;
    esac
}

_jitsudo() {
    local cur=${COMP_WORDS[COMP_CWORD]} path='' awaited='' used=' ' word kind choices
    local -a below options
    local -i i operands=0
    COMPREPLY=()
    for ((i = 1; i < COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        if [[ -n $awaited ]]; then
            [[ $word == = ]] || awaited='' # --for=30m is three words to bash
            continue
        fi
        case $word in
            --)
                _jitsudo_operand "$path $operands"
                _jitsudo_complete "$kind" "$choices" $((i + 1))
                return ;;
            -*)
                used+="$word "
                ! _jitsudo_value "${path:+$path }$word" || awaited=$word ;;
            *)
                _jitsudo_below "$path"
                if [[ " ${below[*]} " == *" $word "* ]]; then
                    path="${path:+$path }$word"
                    continue
                fi
                _jitsudo_operand "$path $operands"
                if [[ $kind == command ]]; then
                    _jitsudo_complete command '' "$i"
                    return
                fi
                operands+=1 ;;
        esac
    done
    if [[ -n $awaited ]]; then
        [[ $cur != = ]] || cur=''
        _jitsudo_value "${path:+$path }$awaited"
        _jitsudo_complete "$kind" "$choices"
    elif [[ $cur == -* ]]; then
        _jitsudo_options "$path"
        for word in "${options[@]}"; do
            [[ $used == *" $word "* && ' @REPEATED@ ' != *" $word "* ]] || _jitsudo_offer "$word"
        done
    else
        _jitsudo_below "$path"
        _jitsudo_offer "${below[@]}"
        _jitsudo_operand "$path $operands"
        _jitsudo_complete "$kind" "$choices" "$COMP_CWORD"
    fi
}

complete -F _jitsudo jitsudo
