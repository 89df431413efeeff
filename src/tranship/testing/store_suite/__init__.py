"""What a store must do, as checks that run on any: on the embedded one, and on one behind a daemon's services.

    @pytest.mark.parametrize("check", store_suite.CHECKS, ids=lambda check: check.__name__)
    def test_it_behaves_as_containerd_does(check, store):       # a fresh, empty store with shared content
        check(store)

A check uses `store.namespace(name)` with its `content`, `images` and `leases`, `store.namespaces` and `store.gc()`, by the
names and errors of `tranship.store`, and raises AssertionError with a sentence. The rules are those of containerd's own content
suite (core/content/testsuite) and of what its services answer.
"""

from tranship.testing.store_suite import collection, content, names
from tranship.testing.store_suite.checks import CHECKS, Check

__all__ = ["CHECKS", "Check", "collection", "content", "names"]
