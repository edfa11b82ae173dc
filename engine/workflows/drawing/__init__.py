"""Workflows as pictures: Mermaid for documents, and an SVG that stands alone. Pure, and without a network."""
