"""ctr's commands that speak to registries: by our daemon as by a real containerd, with docker's registry and with one that asks."""

import itertools

import pytest

pytest.importorskip("grpc", reason="grpcio is in the `daemon` extra")

from support import graphs
from support.ctr import Both, World
from support.peers import Peers, temporary_home
from tranship import Layout, Registry, transfer
from tranship.daemon.server import Daemon
from tranship.model.secret import Credential, Secret
from tranship.store import Store
from tranship.testing.registry import Basic, RegistryServer, Token

_numbers = itertools.count()
ALICE = Credential(username="alice", password=Secret("secret"))


@pytest.fixture(scope="module")
def daemon(tmp_path_factory):
    with (
        temporary_home() as home,
        Store.open(tmp_path_factory.mktemp("store") / "root", durability="process") as store,
        Daemon(store, home.path / "run/t.sock") as running,
    ):
        yield running


@pytest.fixture(params=["ctr"])
def both(request, daemon, tmp_path):
    real = request.getfixturevalue("containerd" if request.param == "ctr" else "old_containerd")
    namespace = f"r{next(_numbers)}"
    daemon.collector.run()
    with temporary_home() as home:
        peers = Peers(home)
        yield Both(
            World(peers, request.param, daemon.address, namespace, tmp_path / "ours"),
            World(peers, request.param, real.address, namespace, tmp_path / "real"),
        )


every_ctr = pytest.mark.parametrize("both", ["ctr", "ctr@bookworm"], indirect=True)


@pytest.fixture
def host(docker_registry):
    return docker_registry.host


def offer(layout, host, name, credential=lambda *_: None):
    """Put an image at a registry."""
    transfer(Layout(layout), Registry(f"{host}/{name}", plain_http=True, credential=credential, environment={}))
    return f"{host}/{name}"


# ------------------------------------------------------------------------------------------------------------------ pull


@pytest.mark.parametrize("kind", ["small", "multi", "docker", "zstd", "large"])
def test_pull_and_all_that_looks_at_it(both, host, images, kind):
    name = offer(images(kind), host, f"{kind}/app:1")
    both.same("images", "pull", "--plain-http", name)
    both.collect()
    both.same("images", "ls")
    both.same("images", "check")
    both.same("images", "inspect", name)
    both.same("content", "ls", "-q")
    both.same("images", "pull", "--plain-http", name)


@pytest.mark.parametrize(
    "options",
    [
        ("--all-platforms",),
        ("--platform", "linux/amd64"),
        ("--platform", "linux/amd64", "--skip-metadata"),
        ("--skip-metadata",),
        ("--label", "a=b"),
    ],
    ids="-".join,
)
def test_options_of_pull(both, host, images, options):
    name = offer(images("multi"), host, "options/app:1")
    both.same("images", "pull", "--plain-http", *options, name)
    both.collect()
    both.same("images", "ls")
    both.same("content", "ls")


def test_platform_that_an_image_does_not_have_is_said(both, host, images):
    """containerd says that all is well, and stores a name of nothing."""
    name = offer(images("multi"), host, "options/app:1")
    ours, real = both.each("images", "pull", "--plain-http", "--platform", "linux/s390x", name)
    assert (ours.code, real.code) == (1, 0)
    assert ours.error == "not found"
    assert both.ours.ctr("images", "ls", "-q").out == ""


def test_pull_of_what_is_not_there_or_not_said(both, host):
    both.same("images", "pull", "--plain-http", f"{host}/nope:1", fails=True)
    for name in (f"{host}/nope", "nope"):
        ours, real = both.each("images", "pull", "--plain-http", name)
        assert (ours.code, real.code) == (1, 1)
        assert "object required" in ours.err
        assert "object required" in real.err
    both.same("images", "ls")


def test_hosts_dir_leads_to_a_mirror(both, host, images, tmp_path):
    offer(images("small"), host, "mirrored/app:1")
    folder = tmp_path / "hosts/registry.invalid"
    folder.mkdir(parents=True)
    (folder / "hosts.toml").write_text(f'server = "http://{host}"\n')
    both.same("images", "pull", "--hosts-dir", str(tmp_path / "hosts"), "registry.invalid/mirrored/app:1")
    both.same("images", "ls", "-q")


@pytest.mark.parametrize("auth", [Basic({"alice": "secret"}), Token({"alice": "secret"})], ids=["basic", "token"])
def test_credentials_are_asked_of_ctr(both, images, auth):
    with RegistryServer(auth=auth) as server:
        name = offer(images("small"), server.host, "app:1", ALICE)
        both.same("images", "pull", "--plain-http", "--user", "alice:secret", name)
        both.same("images", "push", "--plain-http", "--user", "alice:secret", f"{server.host}/mine:2", name)
        for user in ("alice:wrong", "bob:secret"):
            ours, real = both.each("images", "pull", "--plain-http", "--user", user, f"{server.host}/other:1")
            assert (ours.code, real.code) == (1, 1)
        ours, real = both.each("images", "pull", "--plain-http", f"{server.host}/other:1")
        assert (ours.code, real.code) == (1, 1)


def test_debugging_of_requests_does_not_stop_a_pull(both, host, images):
    name = offer(images("small"), host, "debugged/app:1")
    both.same("images", "pull", "--plain-http", "--http-dump", name)
    both.same("images", "pull", "--plain-http", "--http-trace", name)
    both.same("images", "ls", "-q")


@every_ctr
def test_pull_by_ctr_itself_stores_the_image_and_fails_to_unpack_it(both, host, images):
    """ctr unpacks what it has pulled itself, and there is no snapshotter here; the image is there all the same."""
    name = offer(images("small"), host, "local/app:1")
    local = ["--local"] if both.ours.program == "ctr" else []
    done = both.ours.ctr("images", "pull", *local, "--plain-http", name)
    assert done.code == 1
    assert "does not unpack them: not implemented" in done.err
    assert both.ours.ctr("images", "ls", "-q").out.split() == [name]


# ------------------------------------------------------------------------------------------------------------------ push


@pytest.mark.parametrize("way", [(), ("--local",)], ids=["transfer", "local"])
@pytest.mark.parametrize("kind", ["small", "multi", "docker", "zstd", "large"])
def test_push_takes_everything_there(both, host, images, tmp_path, kind, way):  # noqa: PLR0917  # fixtures
    name = offer(images(kind), host, f"{kind}/source:1")
    both.same("images", "pull", "--plain-http", "--all-platforms", name)
    target = f"{host}/{kind}/target-{len(way)}:2"
    both.same("images", "push", *way, "--plain-http", target, name)
    back = Registry(target, plain_http=True, credential=lambda *_: None, environment={})
    transfer(back, Layout(tmp_path / "back"))
    assert graphs.images(tmp_path / "back") == graphs.images(images(kind))


@pytest.mark.parametrize("both", ["ctr@bookworm"], indirect=True)
@pytest.mark.parametrize("kind", ["small", "multi", "docker", "zstd"])
def test_push_by_ctr_1_6_takes_everything_there(both, host, images, tmp_path, kind):
    name = offer(images(kind), host, f"{kind}/old-source:1")
    for world in (both.ours, both.real):
        assert world.ctr("content", "fetch", "--plain-http", "--all-platforms", name).code == 0
    target = f"{host}/{kind}/old-target:2"
    both.same("images", "push", "--plain-http", target, name)
    back = Registry(target, plain_http=True, credential=lambda *_: None, environment={})
    transfer(back, Layout(tmp_path / "back"))
    assert graphs.images(tmp_path / "back") == graphs.images(images(kind))


def test_push_of_one_platform_and_of_what_is_not_whole(both, host, images):
    name = offer(images("multi"), host, "one/source:1")
    both.same("images", "pull", "--plain-http", name)  # the host's platform, and of others the metadata
    both.collect()
    ours, real = both.each("images", "push", "--plain-http", "--platform", "linux/amd64", f"{host}/one/target:1", name)
    assert (ours.code, real.code) == (1, 1)  # this registry wants all children of the index, which stays as it is
    assert "blob unknown to registry" in ours.err
    assert "blob unknown to registry" in real.err
    with RegistryServer() as other:  # nothing to mount from there
        both.same("images", "push", "--plain-http", f"{other.host}/one/target:1", name, fails=True)
    both.same("images", "push", "--plain-http", f"{host}/one/target:1", "nope", fails=True)


def test_push_by_its_own_name(both, host, images):
    name = offer(images("small"), host, "own/app:1")
    both.same("images", "pull", "--plain-http", name)
    both.same("images", "push", "--plain-http", name)


# --------------------------------------------------------------------------------------------------------------- content


@every_ctr
def test_fetch_brings_content_and_a_name(both, host, images):
    name = offer(images("multi"), host, "fetched/app:1")
    for world in (both.ours, both.real):
        assert world.ctr("content", "fetch", "--plain-http", "--platform", "linux/amd64", name).code == 0
    both.collect()
    both.same("images", "ls")
    both.same("content", "ls", "-q")


def test_objects_are_fetched_and_pushed(both, host, images):
    name = offer(images("small"), host, "objects/app:1")
    (root,) = graphs.index(images("small"))
    layer = next(iter(graphs.closure(images("small"), root["digest"]) - {root["digest"]}))
    both.same("content", "fetch-object", "--plain-http", name, root["digest"])
    both.same("content", "fetch-blob", "--plain-http", name, layer)
    for number, world in enumerate((both.ours, both.real)):
        assert world.ctr("content", "fetch", "--plain-http", name).code == 0
        target = f"{host}/objects/copy{number}:1"
        done = world.ctr("content", "push-object", "--plain-http", target, layer, "application/octet-stream")
        assert (done.code, done.out) == (0, f"Pushed {layer} application/octet-stream\n")
