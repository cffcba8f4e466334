package ceremony

// Kinds lists the kinds of steps.
func Kinds() []string { return kinds() }
