# bash completion of jitsudo(1), loaded by bash-completion or sourced by hand.
# Made by scripts/completions from the parser of the command line; change that, not this.

_jitsudo_below() { # COMMAND: its sub-commands
    below=()
    case $1 in
        '') below=(request again requests approve deny cancel status return revoke roles explain doctor setup policy clock) ;;
        'setup') below=(enable confirm disable rollback status verify observe report) ;;
        'policy') below=(check test explain edit schema fmt reload) ;;
        'clock') below=(accept) ;;
    esac
}

_jitsudo_options() { # COMMAND: its options
    options=()
    case $1 in
        '') options=(-h --help --version) ;;
        'request') options=(-h --help --json --for --reason --uses --wait --timeout) ;;
        'again') options=(-h --help --json --reason --wait --timeout) ;;
        'requests') options=(-h --help --json --all) ;;
        'approve') options=(-h --help --json --for --note -S --stdin) ;;
        'deny') options=(-h --help --json --reason) ;;
        'cancel') options=(-h --help --json) ;;
        'status') options=(-h --help --json --short --all) ;;
        'return') options=(-h --help --json --all) ;;
        'revoke') options=(-h --help --json --reason) ;;
        'roles') options=(-h --help --json) ;;
        'explain') options=(-h --help --json -u --user) ;;
        'doctor') options=(-h --help --json --only --all --strict) ;;
        'setup') options=(-h --help) ;;
        'setup enable') options=(-h --help --json --front-end --confirm-within --waive --check) ;;
        'setup confirm') options=(-h --help --json) ;;
        'setup disable') options=(-h --help --json --force) ;;
        'setup rollback') options=(-h --help --json --force) ;;
        'setup status') options=(-h --help --json) ;;
        'setup verify') options=(-h --help --json) ;;
        'setup observe') options=(-h --help --json --off) ;;
        'setup report') options=(-h --help --json --since) ;;
        'policy') options=(-h --help) ;;
        'policy check') options=(-h --help --json --format --grammars --strict --no-lint) ;;
        'policy test') options=(-h --help --json --format --grammars --role -v --verbose) ;;
        'policy explain') options=(-h --help --json --as --group --role -u --user --cwd --at --source --file) ;;
        'policy edit') options=(-h --help --json) ;;
        'policy schema') options=(-h --help --json) ;;
        'policy fmt') options=(-h --help --json --check --diff) ;;
        'policy reload') options=(-h --help --json) ;;
        'clock') options=(-h --help) ;;
        'clock accept') options=(-h --help --json) ;;
    esac
}

_jitsudo_value() { # "COMMAND OPTION": what completes its value; fails if it takes none
    kind='' choices=''
    case $1 in
        'request --for') kind=times choices='' ;;
        'request --reason') kind=nothing choices='' ;;
        'request --uses') kind=nothing choices='' ;;
        'request --timeout') kind=times choices='' ;;
        'again --reason') kind=nothing choices='' ;;
        'again --timeout') kind=times choices='' ;;
        'approve --for') kind=times choices='' ;;
        'approve --note') kind=nothing choices='' ;;
        'deny --reason') kind=nothing choices='' ;;
        'revoke --reason') kind=nothing choices='' ;;
        'explain -u'|'explain --user') kind=users choices='' ;;
        'doctor --only') kind=choices choices='sudo host front-end files keys sockets daemon journald clock policy recording pam units accounts setup side-doors' ;;
        'setup enable --front-end') kind=choices choices='python native pam' ;;
        'setup enable --confirm-within') kind=times choices='' ;;
        'setup enable --waive') kind=nothing choices='' ;;
        'setup report --since') kind=times choices='' ;;
        'policy check --format') kind=choices choices='text json sarif' ;;
        'policy check --grammars') kind=folders choices='' ;;
        'policy test --format') kind=choices choices='text json sarif' ;;
        'policy test --grammars') kind=folders choices='' ;;
        'policy test --role') kind=roles choices='' ;;
        'policy explain --as') kind=users choices='' ;;
        'policy explain --group') kind=groups choices='' ;;
        'policy explain --role') kind=roles choices='' ;;
        'policy explain -u'|'policy explain --user') kind=users choices='' ;;
        'policy explain --cwd') kind=folders choices='' ;;
        'policy explain --at') kind=nothing choices='' ;;
        'policy explain --source') kind=nothing choices='' ;;
        'policy explain --file') kind=files choices='' ;;
        *) return 1 ;;
    esac
}

_jitsudo_operand() { # "COMMAND INDEX": what completes this operand
    kind='' choices=''
    case $1 in
        'request 0') kind=roles choices='' ;;
        'approve 0') kind=requests-to-decide choices='' ;;
        'deny 0') kind=requests-to-decide choices='' ;;
        'cancel 0') kind=requests-of-mine choices='' ;;
        'return 0') kind=grants-of-mine choices='' ;;
        'revoke 0') kind=grants choices='' ;;
        'explain '*) kind=command choices='' ;;
        'policy check '*) kind=files choices='' ;;
        'policy test '*) kind=files choices='' ;;
        'policy explain '*) kind=command choices='' ;;
        'policy edit 0') kind=files choices='' ;;
        'policy fmt '*) kind=files choices='' ;;
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
    done < <(/usr/libexec/jitsudo/jitsudo-complete "$1" 2>/dev/null </dev/null)
}

_jitsudo_complete() { # KIND CHOICES START: START is where a command line of its own begins
    case $1 in
        roles|requests-to-decide|requests-of-mine|grants-of-mine|grants) _jitsudo_live "$1" ;;
        choices) # words of the parser, without spaces
            # shellcheck disable=SC2086
            _jitsudo_offer $2 ;;
        times) _jitsudo_offer 15m 30m 1h 2h 4h 8h ;;
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
            [[ $used == *" $word "* && ' --file --grammars --group --only --waive ' != *" $word "* ]] || _jitsudo_offer "$word"
        done
    else
        _jitsudo_below "$path"
        _jitsudo_offer "${below[@]}"
        _jitsudo_operand "$path $operands"
        _jitsudo_complete "$kind" "$choices" "$COMP_CWORD"
    fi
}

complete -F _jitsudo jitsudo
