package policy

// EditBeyond sets how many rules a group of s, and of the snapshots that follow
// it, must have to be edited rule by rule.
func EditBeyond(s *Snapshot, rules int) { s.plain = rules }
