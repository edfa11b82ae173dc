"""Reading an ads export: pure parsing of a CSV file into campaign-day sums. Knows no database."""
