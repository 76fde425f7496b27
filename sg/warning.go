package sg

// Warning is something that a reader or writer of a foreign format could not
// carry over, but that changes no verdict: a tag, a name, a description. What
// would change a verdict is an error instead.
type Warning struct {
	Path   string // as in FieldError
	Detail string
}

// String is one line.
func (w Warning) String() string {
	if w.Path == "" {
		return w.Detail
	}
	return w.Path + ": " + w.Detail
}
