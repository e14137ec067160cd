"""What the engine knows of the whole population, and how that knowledge is renewed."""
