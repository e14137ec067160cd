"""Everything that touches the outside: wire formats, event files, stored state."""
