"""Score reader comments for incitement and abuse."""
