"""What a person reads: the values a page shows (`page`), and how they become HTML (`render`) or a plain table (`table`)."""
