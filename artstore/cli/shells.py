"""Shells: the scripts by which they complete a command line that is half typed.

Imports nothing but click, because every command needs the registration.
"""

from __future__ import annotations

import os
from typing import Final

from click.shell_completion import (
    BashComplete,
    FishComplete,
    ShellComplete,
    ZshComplete,
    add_completion_class,
    split_arg_string,
)


class Bash(BashComplete):
    """As click's own, for words with colons: bash takes `cats:v3` for three words and replaces the last of them."""

    source_template = """\
%(complete_func)s() {
    local IFS=$'\\n' response completion type value word stem=""
    response=$(env COMP_LINE="$COMP_LINE" COMP_POINT="$COMP_POINT" %(complete_var)s=bash_complete "$1")
    word="${COMP_LINE:0:$COMP_POINT}"
    word="${word##*[[:space:]]}"
    if [[ "$COMP_WORDBREAKS" == *:* && "$word" == *:* ]]; then
        stem="${word%%"${word##*:}"}"
    fi
    for completion in $response; do
        IFS=',' read -r type value <<< "$completion"
        case "$type" in
            dir) COMPREPLY=(); compopt -o dirnames ;;
            file) COMPREPLY=(); compopt -o default ;;
            plain) COMPREPLY+=("${value#"$stem"}") ;;
        esac
    done
}

complete -o nosort -F %(complete_func)s %(prog_name)s
"""

    def get_completion_args(self) -> tuple[list[str], str]:
        """The words before the one that is being typed, and that one."""
        line = os.environ["COMP_LINE"][: int(os.environ["COMP_POINT"])]
        words = split_arg_string(line)
        return (words[1:], "") if line[-1:].isspace() else (words[1:-1], words[-1])


add_completion_class(Bash)

SHELLS: Final[dict[str, type[ShellComplete]]] = {"bash": Bash, "zsh": ZshComplete, "fish": FishComplete}
