"""A checker of Bicep files in four steps: syntax, symbols, types, rules. Each finds what it alone can see."""
