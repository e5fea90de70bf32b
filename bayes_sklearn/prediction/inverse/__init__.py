"""From targets back to features: what was measured, given readings of it."""
