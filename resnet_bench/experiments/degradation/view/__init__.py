"""Tables, figures and sentences of `degradation`."""
