"""What an operator sees of a running node: metrics, health, logs. It reads and changes nothing."""
