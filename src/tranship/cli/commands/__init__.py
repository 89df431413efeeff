"""The commands, a module each: `arguments(parser)` says what it takes, `run(args)` does it; tests run the EXAMPLES."""
