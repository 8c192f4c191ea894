"""What a person signs with at the command line: keystores, nonces, amounts, what is shown first."""
