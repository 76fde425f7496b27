package sg

import "strings"

// Scope says who may see and edit a resource. The zero value is global.
type Scope struct{ owner OwnerID }

// Global is visible to all and editable by admins only.
func Global() Scope { return Scope{} }

// User is visible to and editable by owner (and admins).
func User(owner OwnerID) Scope { return Scope{owner} }

// Owner returns the owner; ok is false for global scope.
func (s Scope) Owner() (o OwnerID, ok bool) { return s.owner, s.owner != "" }

// String is "global" or "user alice".
func (s Scope) String() string {
	if s.owner == "" {
		return "global"
	}
	return "user " + string(s.owner)
}

// MarshalText writes "global" or "user:alice".
func (s Scope) MarshalText() ([]byte, error) {
	if s.owner == "" {
		return []byte("global"), nil
	}
	return []byte("user:" + string(s.owner)), nil
}

// UnmarshalText reads what MarshalText writes.
func (s *Scope) UnmarshalText(b []byte) error {
	owner, ok := strings.CutPrefix(string(b), "user:")
	switch {
	case string(b) == "global":
		*s = Scope{}
	case ok && owner != "":
		*s = User(OwnerID(owner))
	default:
		return &FieldError{Value: string(b), Err: ErrInvalid, Detail: `want "global" or "user:NAME"`}
	}
	return nil
}

// Actor is who asks for a change.
type Actor struct {
	ID    OwnerID
	Admin bool
}

// CanView reports whether a may see, and attach, a resource with scope s.
func (a Actor) CanView(s Scope) bool { return s.owner == "" || a.CanEdit(s) }

// CanEdit reports whether a may create, change and delete a resource with
// scope s.
func (a Actor) CanEdit(s Scope) bool { return a.Admin || s.owner != "" && a.ID == s.owner }
