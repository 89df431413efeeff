"""Keep the password of a registry, after the registry has accepted it.

It is kept where docker keeps it: by the credential helper that docker's config.json names for the registry, else in that file,
readable by you alone, where docker, podman, skopeo and tranship find it. --authfile, or REGISTRY_AUTH_FILE, names another file,
such as podman's auth.json. HOST may go on with a path, and then the password is for what is below it (podman and tranship).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tranship.cli import asking, options, output, registries
from tranship.errors import InvalidArgument, Unauthenticated, printable

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from tranship.model.secret import Credential

EXAMPLES = """
  echo "$PASSWORD" | tranship login --username alice --password-stdin registry.example
  tranship login --authfile auth.json -u alice --password-stdin registry.example/team < password
"""


def arguments(parser: ArgumentParser) -> None:
    """Say what it takes."""
    parser.add_argument("registry", metavar="HOST", help="HOST, HOST:PORT, or HOST/PATH")
    options.registry(parser)
    options.common(parser, store=False)


def run(args: Namespace) -> None:
    """Log in."""
    import os

    from tranship.http import login
    from tranship.http.credentials import standard
    from tranship.model.secret import Credential

    host, path = registries.host_and_path(args.registry)
    key = f"{host}/{path}".rstrip("/")
    if args.creds:
        raise InvalidArgument("--creds is for one command", hint="say --username, and --password-stdin or type it")
    user = args.username or asking.user_name(host)
    password = asking.password(args, f"{printable(user)} at {host}", from_stdin=bool(args.password_stdin))
    credential = Credential(username=user, password=password, source="what you say")
    place = registries.file_to_keep_in(args)
    asked = _check(args, host, credential)
    kept = login.login(place, key, credential, os.environ)
    if kept == place:
        output.say(
            args, f"the password stands unencrypted in {printable(kept)}; a credential helper would keep it better"
        )
    if not asked:
        output.say(args, f"{host} did not ask for a password, so this one was not tried")
    said = standard(os.environ, file=args.authfile).explain(host, path)
    first = next((one.source for one in said if one.state == "answers"), kept)
    if first not in (kept, place):
        output.say(args, f"{printable(first)} comes before it, and will be used for {host}")
    if args.json:
        output.print_json({"registry": key, "username": user, "kept": kept, "checked": asked})
    else:
        output.print_lines([f"logged in to {key} as {user}"])


def _check(args: Namespace, host: str, credential: Credential) -> bool:
    """Show it to the registry; Unauthenticated when it is refused, False when nobody asked for it."""
    from tranship.cli.ends import End
    from tranship.formats.hosts import default_host

    asked: list[str] = []
    registry = (host, default_host(host).authority)

    def show(at: str, _repository: str) -> Credential | None:
        asked.append(at)
        return credential if at in registry else None

    end = End(args, f"docker://{host}/any", "src")
    for said in ("username", "password-stdin", "authfile"):  # they are for the file, and it may not be there yet
        end.take(said)
    value = replace(registries.value_of(end), credential=show)
    with value.session(registries.run_of(args)) as session:
        try:
            session.ping(host)
        except Unauthenticated as error:
            raise Unauthenticated(
                f"registry {host} does not accept this password of {printable(credential.username)}; it was not kept",
                hint=error.hint,
            ) from None
    return bool(asked)
