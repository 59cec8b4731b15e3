"""What `degradation` claims, and how claims are judged."""
