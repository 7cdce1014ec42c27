"""Makes report.html, the page with the results of a run: tables, figures and a review of labels."""
