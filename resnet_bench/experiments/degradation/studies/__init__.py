"""The studies: each looks at a network while it trains or when it has."""
