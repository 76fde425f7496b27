package main

// lazy is a world that the contestants of a trial share: it is made when the
// first of them wants it, and dropped when the trial is over. A large one
// would weigh on the garbage collections of later trials.
type lazy struct {
	make func() *world
	w    *world
}

func (l *lazy) get() *world {
	if l.w == nil {
		l.w = l.make()
	}
	return l.w
}

func (l *lazy) drop() {
	if l != nil {
		l.w = nil
	}
}
