"""Who certifies blocks: keys, votes and quorum certificates; pure, like all of the rules."""
