"""From run files to tables, figures, verdicts and reports."""
