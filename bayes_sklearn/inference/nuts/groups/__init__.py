"""Effects of groups, for a sampler."""
