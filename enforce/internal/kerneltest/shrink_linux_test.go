package kerneltest

import "slices"

// shrink returns a trial as short as it gets in which a packet of the last
// cluster differs and bad holds: packets go first, in chunks and one by one,
// then the change of policy, then rules.
func (j *judge) shrink(tr trial, bad func(trial, result) bool) trial {
	for size := max(1, len(tr.steps)/2); ; {
		less, ok := j.first(without(tr, size), bad)
		switch {
		case ok:
			tr = less
			size = min(size, max(1, len(tr.steps)/2))
			continue
		case size > 1:
			size /= 2
			continue
		}
		break
	}
	for again := true; again; {
		again = false
		for _, less := range simpler(tr) {
			if t, ok := j.first([]trial{less}, bad); ok {
				tr, again = t, true
				break
			}
		}
	}
	return tr
}

// first returns the first of the trials, which have the same policies, that is
// bad.
func (j *judge) first(list []trial, bad func(trial, result) bool) (trial, bool) {
	j.reserve(len(list))
	if len(list) == 0 {
		return trial{}, false
	}
	for i, r := range j.judge(list) {
		if bad(list[i], r) {
			return list[i], true
		}
	}
	return trial{}, false
}

// without returns tr without each of its chunks of a size.
func without(tr trial, size int) (out []trial) {
	for from := 0; from < len(tr.steps); from += size {
		to := min(from+size, len(tr.steps))
		less := tr
		less.steps = slices.Delete(slices.Clone(tr.steps), from, to)
		less.swap -= max(0, min(to, tr.swap)-from)
		if len(less.steps) > 0 {
			out = append(out, less)
		}
	}
	return out
}

// simpler returns tr under simpler policies.
func simpler(tr trial) (out []trial) {
	if tr.batch {
		less := tr
		less.batch = false
		out = append(out, less)
	}
	if tr.swap < len(tr.steps) {
		for _, p := range tr.policies {
			out = append(out, trial{policies: [2]rules{p, p}, swap: len(tr.steps), steps: tr.steps, batch: tr.batch})
		}
	}
	for phase, p := range tr.policies {
		if phase == 1 && tr.swap >= len(tr.steps) {
			break
		}
		for i := range p {
			less := tr
			less.policies[phase] = slices.Delete(slices.Clone(p), i, i+1)
			if tr.swap >= len(tr.steps) {
				less.policies[1] = less.policies[0]
			}
			out = append(out, less)
		}
	}
	return out
}
