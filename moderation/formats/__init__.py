"""Files that hold comments: rows of many forms, and saved pages."""
