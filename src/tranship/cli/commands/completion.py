"""Print the completion script of a shell: of commands and options, and of the names in the store.

bash    source <(tranship completion bash)
zsh     source <(tranship completion zsh)
fish    tranship completion fish | source
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tranship.cli import options

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

EXAMPLES = """
  tranship completion bash > tranship.bash
"""


def arguments(parser: ArgumentParser) -> None:
    """Say what it takes."""
    parser.add_argument("shell", choices=("bash", "zsh", "fish"))
    options.common(parser, store=False)


def run(args: Namespace) -> None:
    """Print it."""
    from tranship.cli import shells

    print({"bash": shells.bash, "zsh": shells.zsh, "fish": shells.fish}[args.shell](), end="")
