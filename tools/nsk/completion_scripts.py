"""What the shells run when a word is to be completed. Each hands the words so far to the tool and reads its answer.

``@PROGRAM@`` stands for the tool's name, ``@PLAIN@`` for the flag that leaves descriptions out.
"""

from __future__ import annotations

from typing import Final

_BASH: Final = r"""# bash completion for @PROGRAM@
_@PROGRAM@_complete() {
    local words=() word line index last
    # Bash takes "--flag=value" for three words.
    for ((index = 1; index <= COMP_CWORD; index++)); do
        word=${COMP_WORDS[index]}
        last=$((${#words[@]} - 1))
        if ((last >= 0)) && { [[ $word == "=" && ${words[last]} == --* ]] || [[ ${words[last]} == --*= ]]; }; then
            words[last]+=$word
        else
            words+=("$word")
        fi
    done
    last=$((${#words[@]} - 1))
    COMPREPLY=()
    while IFS= read -r line; do
        line=${line%%$'\t'*}
        [[ ${words[last]} == --*=* ]] && line=${line#*=}
        COMPREPLY+=("$(printf '%q' "$line")")
    done < <("${COMP_WORDS[0]}" __complete --no-descriptions -- "${words[@]}" 2>/dev/null)
}
complete -o default -F _@PROGRAM@_complete @PROGRAM@
"""

_ZSH: Final = r"""#compdef @PROGRAM@
_@PROGRAM@() {
    local -a found
    local line candidate
    while IFS= read -r line; do
        candidate=${${line%%$'\t'*}//:/\\:}
        if [[ $line == *$'\t'* ]]; then
            found+=("$candidate:${line#*$'\t'}")
        else
            found+=("$candidate")
        fi
    done < <(${words[1]} __complete@PLAIN@ -- "${(@)words[2,CURRENT]}" 2>/dev/null)
    if (( ${#found} )); then
        _describe -o @PROGRAM@ found
    else
        _files
    fi
}
if [ "$funcstack[1]" = "_@PROGRAM@" ]; then
    _@PROGRAM@ "$@"
else
    compdef _@PROGRAM@ @PROGRAM@
fi
"""

_FISH: Final = r"""# fish completion for @PROGRAM@
function __@PROGRAM@_complete
    set -l words (commandline -opc)
    set -e words[1]
    @PROGRAM@ __complete@PLAIN@ -- $words (commandline -ct) 2>/dev/null
end
complete -c @PROGRAM@ -e
complete -c @PROGRAM@ -n 'count (__@PROGRAM@_complete) >/dev/null' -f -a '(__@PROGRAM@_complete)'
"""

_POWERSHELL: Final = r"""# powershell completion for @PROGRAM@
Register-ArgumentCompleter -Native -CommandName '@PROGRAM@' -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)
    $words = @($commandAst.CommandElements | Select-Object -Skip 1 |
        Where-Object { $_.Extent.EndOffset -lt $cursorPosition } | ForEach-Object { "$_" })
    # An empty argument must be written out for a native command.
    $last = if ($wordToComplete) { $wordToComplete } else { '""' }
    & '@PROGRAM@' __complete@PLAIN@ -- @words $last 2>$null | ForEach-Object {
        $candidate, $description = $_ -split "`t", 2
        if (-not $description) { $description = $candidate }
        [System.Management.Automation.CompletionResult]::new($candidate, $candidate, 'ParameterValue', $description)
    }
}
"""

SCRIPTS: Final = {"bash": _BASH, "fish": _FISH, "powershell": _POWERSHELL, "zsh": _ZSH}
