"""The rule language, pure: windows, fields, condition trees, three-valued evaluation, gates, templates."""
