"""Long checks outside of `make test`, each a program: `make kills` and `make soak` (root)."""
