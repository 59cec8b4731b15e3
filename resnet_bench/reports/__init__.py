"""Views of several runs: the page, lists, recommendations, the doctor."""
