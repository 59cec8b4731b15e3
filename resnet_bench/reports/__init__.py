"""What is said across runs: the page, lists, recommendations, the doctor."""
