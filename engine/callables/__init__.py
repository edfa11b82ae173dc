"""Python callables that steps of workflows call: ours and other packages', in this process or in one of their own."""
