"""Media: what a file is, and disks as sectors that can be read and written. Knows no chips and no machine."""
