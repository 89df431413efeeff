"""Platforms: what an image runs on, how people write it, and which of several fits best.

Grammar, normalisation and matching are containerd's (`github.com/containerd/platforms`), so that `--platform` means
here what it means there. A platform keeps the spelling that it was read with; only matching normalises.
"""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from tranship.errors import InvalidArgument, InvalidReference, printable
from tranship.model import strict_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

_OWN_KEYS = frozenset({"architecture", "os", "os.version", "os.features", "variant"})
_KNOWN_OS = re.compile(
    "aix|android|darwin|dragonfly|freebsd|hurd|illumos|ios|js|linux|nacl|netbsd|openbsd|plan9|solaris|windows|zos"
)
_KNOWN_ARCHITECTURE = re.compile(
    "386|amd64|amd64p32|arm|armbe|arm64|arm64be|ppc64|ppc64le|loong64|mips|mipsle|mips64|mips64le|mips64p32|mips64p32le"
    "|ppc|riscv|riscv64|s390|s390x|sparc|sparc64|wasm"
)
_SAME_ARCHITECTURE = {"i386": "386", "x86_64": "amd64", "x86-64": "amd64", "aarch64": "arm64"}
_SAME_VARIANT = {  # architecture -> variant -> the usual spelling; the most common variant is spelled by saying none
    "amd64": {"v1": ""},
    "arm64": {"8": "", "v8": "", "v8.0": "", "9": "v9", "9.0": "v9", "v9.0": "v9"},
    "arm": {"": "v7", "5": "v5", "6": "v6", "7": "v7", "8": "v8"},
}
_COMPONENT = re.compile(r"[A-Za-z0-9_.-]+")
_OS = re.compile(r"([A-Za-z0-9_-]+)(?:\(([A-Za-z0-9_.%-]*)((?:\+[A-Za-z0-9_.%-]+)*)\))?")
_MUST_ESCAPE = re.compile(r"[^A-Za-z0-9_.-]")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Platform:
    """An operating system and an architecture, in Go's words for them (OCI image specification, "platform")."""

    os: str
    architecture: str
    variant: str = ""
    os_version: str = ""
    os_features: tuple[str, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False)  # fields that we do not read

    @classmethod
    def parse(cls, text: str) -> Platform:
        """Read `OS[(VERSION[+FEATURE…])][/ARCH[/VARIANT]]`, or an OS or an architecture alone.

        What is not said of a lone one comes from the host. Raises InvalidReference.
        """
        first, *rest = parts = text.split("/", 3)
        system, version, features = _parse_os(first, text)
        start = len(first) + 1
        for part in rest[:2]:
            if not _COMPONENT.fullmatch(part):
                _refuse("expected letters, digits and any of _ . -", text, start, len(part))
            start += len(part) + 1
        if len(parts) == 1:
            return _complete(text, system, version, features)
        if len(parts) > 3:
            _refuse("at most OS/ARCH/VARIANT is allowed", text, start, len(rest[2]))
        architecture, variant = _normal_architecture(rest[0], rest[1] if len(rest) == 2 else "")
        if len(rest) == 2 and architecture == "arm64":
            variant = variant or "v8"
        if len(rest) == 1 and (architecture, variant) == ("arm", "v7"):
            variant = ""
        return cls(system, architecture, variant, version, features)

    @classmethod
    def from_json(cls, value: Any, where: str) -> Platform:
        """Read a descriptor's `platform`; `where` names the descriptor in the InvalidArgument that a bad one raises."""
        if type(value) is dict and len(value) == 2:  # as nearly all are
            system, architecture = value.get("os"), value.get("architecture")
            if type(system) is str and type(architecture) is str:
                return cls(os=system, architecture=architecture)
        where = f"{where}: platform"
        value = strict_json.fields(value, _OWN_KEYS, where)
        features = value.get("os.features") or ()
        if not isinstance(features, (list, tuple)) or not all(isinstance(item, str) for item in features):
            raise InvalidArgument(f"{where}: os.features must be a list of strings")
        return cls(
            os=_string(value, "os", where),
            architecture=_string(value, "architecture", where),
            variant=_string(value, "variant", where),
            os_version=_string(value, "os.version", where),
            os_features=tuple(features),
            extra={k: v for k, v in value.items() if k not in _OWN_KEYS},
        )

    def to_json(self) -> dict[str, Any]:
        """Encode as the specification's JSON object, in the spelling that was read."""
        value: dict[str, Any] = {"architecture": self.architecture, "os": self.os}
        if self.os_version:
            value["os.version"] = self.os_version
        if self.os_features:
            value["os.features"] = list(self.os_features)
        if self.variant:
            value["variant"] = self.variant
        return {**value, **self.extra}

    def normalised(self) -> Platform:
        """The same platform in the usual spelling: `x86_64` is amd64, arm64/v8 is arm64, no system is the host's."""
        system = _normal_os(self.os) if self.os else _host_os()
        architecture, variant = _normal_architecture(self.architecture, self.variant)
        features = tuple(sorted(set(self.os_features)))
        return replace(self, os=system, architecture=architecture, variant=variant, os_features=features)

    def __str__(self) -> str:
        if not self.os:
            return "unknown"
        options = _escape(self.os_version) + "".join(f"+{_escape(item)}" for item in sorted(self.os_features))
        return "/".join(
            filter(None, (f"{self.os}({options})" if options else self.os, self.architecture, self.variant))
        )


def host() -> Platform:
    """The machine that we run on. Its variant is said on ARM alone, as containerd's DefaultSpec does."""
    return _host(_host_os(), os.uname().machine, wide=sys.maxsize > 1 << 32)


# --- matching ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Matcher:
    """Which platforms are wanted. Use the functions below to make one.

    wanted   normalised, best first; None wants every platform
    ordered  an earlier one is better than a later one; otherwise all that match are equally good
    """

    wanted: tuple[Platform, ...] | None
    ordered: bool = True

    def match(self, platform: Platform | None) -> bool:
        """Say whether it is wanted. A descriptor that does not say its platform (None) always is."""
        return platform is None or self.wanted is None or self._place(platform.normalised()) < len(self.wanted)

    def rank(self, platform: Platform | None) -> tuple[int, ...]:
        """Make a sort key: the best first, what does not match later, what says no platform last.

        Of equally good ones, that with the most OS features comes first, then that with the highest Windows version.
        """
        wanted = self.wanted or ()
        last = 2 * len(wanted) + 1
        if platform is None or self.wanted is None:
            return (last if platform is None else 0,)
        normal = platform.normalised()
        place = self._place(normal)
        if place == len(wanted):  # the next best thing is a platform that merely asks for more features
            place += self._place(replace(normal, os_features=()))
        newest = _windows_version(normal.os_version) if normal.os == "windows" else ()
        level = place if self.ordered else place // max(len(wanted), 1)
        return (level, -len(normal.os_features), *(-number for number in newest or ()))

    def best_first(self, items: Iterable[T], platform_of: Callable[[T], Platform | None]) -> list[T]:
        """Return those of `items` that match, the best first; equally good ones keep their order."""
        matching = [(platform, item) for item in items if self.match(platform := platform_of(item))]
        return [item for _, item in sorted(matching, key=lambda pair: self.rank(pair[0]))]

    def _place(self, normal: Platform) -> int:
        """Find the first wanted platform that `normal` (normalised) fits; their number stands for none."""
        wanted = self.wanted or ()
        return next((place for place, one in enumerate(wanted) if _fits(one, normal)), len(wanted))

    def __str__(self) -> str:
        return "all platforms" if self.wanted is None else ", ".join(map(str, self.wanted))


def only(*platforms: Platform) -> Matcher:
    """Each platform and what its processor also runs: amd64 takes 386, arm/v7 takes arm/v6, the closest first."""
    return ordered(*(one for platform in platforms for one in _vector(platform.normalised())))


def only_strict(platform: Platform) -> Matcher:
    """Take the platform, in any spelling, and no other."""
    return ordered(platform)


def ordered(*platforms: Platform) -> Matcher:
    """Any of these, an earlier one preferred."""
    return Matcher(tuple(dict.fromkeys(platform.normalised() for platform in platforms)))


def any_of(*platforms: Platform) -> Matcher:
    """Any of these, none preferred."""
    return replace(ordered(*platforms), ordered=False)


def all_platforms() -> Matcher:
    """Every platform, attestations (unknown/unknown) too."""
    return Matcher(None)


def default() -> Matcher:
    """What this machine runs. A Mac runs Linux images, in a virtual machine."""
    return only(*_host_family())


def default_strict() -> Matcher:
    """What this machine runs best, and nothing that it merely can run."""
    return ordered(*_host_family())


def _host_family() -> tuple[Platform, ...]:
    here = host()
    return (here, replace(here, os="linux")) if here.os == "darwin" else (here,)


def _fits(wanted: Platform, candidate: Platform) -> bool:
    """May `candidate` be taken where `wanted` is asked for? Both are normalised."""
    if (wanted.os, wanted.architecture, wanted.variant) != (candidate.os, candidate.architecture, candidate.variant):
        return False
    needs = set(candidate.os_features)
    if wanted.os == "windows":
        needs.discard("win32k")  # which images have long asked for and hosts did not tell
        return needs <= set(wanted.os_features) and _windows_fits(wanted.os_version, candidate.os_version)
    return needs <= set(wanted.os_features)


def _vector(platform: Platform) -> list[Platform]:
    """`platform` (normalised) and what its processor also runs, best first."""
    major, minor = _variant_numbers(platform)

    def variants(architecture: str, *names: str) -> list[Platform]:
        return [replace(platform, architecture=architecture, variant=name) for name in names]

    match platform.architecture:
        case "amd64":
            return [platform, *variants("amd64", *_down("v", major - 1, 1)), *variants("386", "")]
        case "arm":
            return [platform, *variants("arm", *_down("v", major - 1, 5))]
        case "arm64" if major in (8, 9):
            lower = _down(f"v{major}.", minor - 1, 0)
            if major == 9:  # v9.y has all of v8.(y+5), and v8 ends at v8.9 (Arm Architecture Reference Manual)
                lower += _down("v8.", min(minor + 5, 9), 0)
            return [platform, *variants("arm64", *lower), *variants("arm", *_down("v", 8, 5))]
    return [platform]


def _variant_numbers(platform: Platform) -> tuple[int, int]:
    """Major and minor of a variant such as v8.2; (0, 0) for none. One digit each: no processor has more."""
    found = re.fullmatch(r"v?([1-9])(?:\.([0-9]))?", platform.variant or "v8" * (platform.architecture == "arm64"))
    return (int(found[1]), int(found[2] or 0)) if found else (0, 0)


def _down(prefix: str, highest: int, lowest: int) -> list[str]:
    return [f"{prefix}{number}" for number in range(highest, lowest - 1, -1)]


# Windows: https://learn.microsoft.com/virtualization/windowscontainers/deploy-containers/version-compatibility
_STABLE_BUILDS = (20348, 26100)  # long-term releases since the one that made the kernel's interface stable (2022, 2025)


def _windows_fits(host_version: str, image_version: str) -> bool:
    """Does a Windows host of this version run an image of that version? A version that is not told fits."""
    wanted = _windows_version(host_version)
    if wanted is None or not image_version:
        return True
    image = _windows_version(image_version)
    if image is None or wanted[:2] != image[:2]:
        return False
    if wanted[2] < _STABLE_BUILDS[0]:
        return image[2] == wanted[2]
    oldest = max((build for build in _STABLE_BUILDS if build < wanted[2]), default=_STABLE_BUILDS[0])
    return oldest <= image[2] <= wanted[2]


def _windows_version(text: str) -> tuple[int, int, int] | None:
    """Read major, minor and build of `10.0.20348.1`."""
    found = re.match(r"([0-9]{1,3})\.([0-9]{1,3})\.([0-9]{1,5})(?:\.|\Z)", text)
    return (int(found[1]), int(found[2]), int(found[3])) if found else None


# --- spelling ---------------------------------------------------------------------------------------------------------


def _parse_os(part: str, text: str) -> tuple[str, str, tuple[str, ...]]:
    """Read `OS[(VERSION[+FEATURE…])]`, the first component of `text`."""
    if "*" in text:
        _refuse("wildcards are not supported", text, text.index("*"), 1)
    found = _OS.fullmatch(part)
    if found is None:
        _refuse("expected OS or OS(VERSION+FEATURE)", text, 0, len(part))
    version, features = found[2] or "", found[3] or ""
    bad = _BAD_ESCAPE.search(part)
    if bad is not None:
        _refuse("% must be followed by two hexadecimal digits", text, bad.start(), 1)
    try:
        decoded = tuple(sorted(map(_unescape, features.split("+")[1:])))
        return _normal_os(found[1]), _unescape(version), decoded
    except UnicodeDecodeError:
        _refuse("escaped bytes must be UTF-8", text, found.start(2), len(version) + len(features))


def _complete(text: str, system: str, version: str, features: tuple[str, ...]) -> Platform:
    """A lone component: an operating system on the host's architecture, or an architecture on the host's system."""
    here = host()
    if _KNOWN_OS.fullmatch(system):
        variant = here.variant if here.architecture == "arm" and here.variant != "v7" else ""
        return Platform(system, here.architecture, variant, version, features)
    architecture, variant = _normal_architecture(text, "")
    if not _KNOWN_ARCHITECTURE.fullmatch(architecture):
        _refuse("unknown operating system or architecture", text, 0, len(text))
    return Platform(here.os, architecture, "" if (architecture, variant) == ("arm", "v7") else variant)


def _refuse(reason: str, text: str, start: int, length: int) -> NoReturn:
    raise InvalidReference(reason, text, (start, start + length), kind="platform")


def _string(value: dict[str, Any], key: str, where: str) -> str:
    found = value.get(key)
    if found is not None and not isinstance(found, str):  # Go reads null as the empty string
        raise InvalidArgument(f"{where}: {key} must be a string, found {printable(repr(found))}")
    return found or ""


def _escape(text: str) -> str:
    return _MUST_ESCAPE.sub(lambda c: "".join(f"%{byte:02X}" for byte in c[0].encode("utf-8", "surrogatepass")), text)


def _unescape(text: str) -> str:
    return re.sub(rb"%(..)", lambda pair: bytes.fromhex(pair[1].decode()), text.encode()).decode()


def _normal_os(name: str) -> str:
    lower = name.lower()
    return "darwin" if lower == "macos" else lower


def _normal_architecture(architecture: str, variant: str) -> tuple[str, str]:
    architecture, variant = architecture.lower(), variant.lower()
    match architecture:
        case "i386":
            return "386", ""
        case "armhf":
            return "arm", "v7"
        case "armel":
            return "arm", "v6"
    architecture = _SAME_ARCHITECTURE.get(architecture, architecture)
    return architecture, _SAME_VARIANT.get(architecture, {}).get(variant, variant)


def _host_os() -> str:
    """Go's name of this operating system; `sys.platform` may end in a version (freebsd14)."""
    return "windows" if sys.platform == "win32" else sys.platform.rstrip("0123456789")


_MACHINES = {  # as uname says it -> as Go says it
    **dict.fromkeys(("i486", "i586", "i686"), "386"),
    "loongarch64": "loong64",
    "ppc64el": "ppc64le",
}


def _host(system: str, machine: str, *, wide: bool) -> Platform:
    """The platform of a program on `machine` (uname's word); `wide`: it is a 64-bit program."""
    machine = machine.lower()
    if re.fullmatch(r"armv[0-9].*", machine):
        return Platform(system, "arm", machine[3:5])
    architecture, _ = _normal_architecture(_MACHINES.get(machine, machine), "")
    if architecture == "arm64":
        return Platform(system, "arm64" if wide else "arm", "v8")
    return Platform(system, "386" if architecture == "amd64" and not wide else architecture)
