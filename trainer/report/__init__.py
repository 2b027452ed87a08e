"""Pages for people: self-contained HTML, plots as SVG, nothing loaded from anywhere."""
