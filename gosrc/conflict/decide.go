package conflict

// Decide says what to do with an incoming version, given all that it collides
// with (docs/decisions/0007-convergence.md).
//
// With the default rules a version ends up visible exactly when no newer one
// that collides with it was ever seen, so a version that comes late still
// evicts what is older than itself, and what is not stored is remembered.
func (p Policy) Decide(f Facts) (Plan, error) {
	if err := f.check(); err != nil {
		return Plan{}, err
	}
	plan := Plan{Fates: make([]Fate, len(f.Found))}
	for i := range plan.Fates {
		plan.Fates[i] = Stays
	}
	s, err := p.compareAll(f)
	switch {
	case err != nil:
		return Plan{}, err
	case s.weight == weightOf(Raise):
		plan.Action = Raise
	case s.weight == weightOf(Ignore):
		plan.Action = Ignore
	case f.Operation == OpDelete:
		planDelete(f, s, &plan)
	default:
		planRow(f, s, &plan)
	}
	plan.Type, plan.Rule, plan.Decisive = s.kind, s.rule, s.decisive
	plan.Resolution = resolutions[plan.Action]
	if f.Image == Gone && !f.KeyChanged && plan.Action == Keep && !s.lost && f.Operation != OpDelete {
		plan.Rule = "row_gone_at_origin"
	}
	if f.leaves() && plan.Action == Keep {
		// the update goes on under its new key
		plan.Resolution = ApplyRemote
	}
	return plan, nil
}

// comparison is how an incoming version fares against each thing found.
type comparison struct {
	won      []bool // against Facts.Found
	lost     bool   // against at least one of them
	kind     Type   // of the conflict that decided
	rule     string
	decisive int // place in Facts.Found; -1: none
	weight   int // of what it decided
}

// weightOf says which of several answers about one version counts.
func weightOf(a Action) int {
	switch a {
	case Raise:
		return 4
	case Ignore:
		return 3
	case Keep:
		return 2
	default:
		return 1
	}
}

// compareAll asks the rules about each pair. The first of the answers that count
// names the outcome.
func (p Policy) compareAll(f Facts) (comparison, error) {
	s := comparison{won: make([]bool, len(f.Found)), rule: "no_conflict", decisive: -1}
	missing := f.missing()
	for i, found := range f.Found {
		s.won[i] = Compare(f.Remote, found.Version) >= 0
		s.lost = s.lost || missing == DeleteMissing && !s.won[i]
		c := Conflict{f.typeOf(found), found.Version, f.Remote, f.Image == Complete}
		if c.Type == 0 || missing == DeleteMissing {
			continue
		}
		if err := p.compare(&s, i, c); err != nil {
			return s, err
		}
	}
	if missing != 0 {
		c := Conflict{missing, Version{}, f.Remote, f.Image == Complete}
		if err := p.compare(&s, -1, c); err != nil {
			return s, err
		}
	}
	if f.leaves() && s.lost && s.weight == weightOf(Keep) {
		s.rule = "moved_row_is_new"
	}
	return s, nil
}

// missing is the conflict of a change that finds nothing under its key; 0: it
// finds something, or need not.
func (f Facts) missing() Type {
	live, known := false, false
	for _, found := range f.Found {
		live = live || found.sameKey() && found.Live
		known = known || found.sameKey()
	}
	switch {
	case f.Operation == OpDelete && !f.KeyChanged && !live:
		return DeleteMissing
	case f.isOwn(Found{On: []int{0}}) && !known:
		return UpdateMissing
	default:
		return 0
	}
}

// compare records one pair; i is its place in Facts.Found, or -1.
func (p Policy) compare(s *comparison, i int, c Conflict) error {
	decision, err := p.Resolve(c)
	if err != nil {
		return err
	}
	if weight := weightOf(decision.Action); weight > s.weight {
		s.kind, s.rule, s.decisive, s.weight = c.Type, decision.Rule, i, weight
	}
	if i >= 0 {
		s.won[i] = decision.Action != Keep
		s.lost = s.lost || decision.Action == Keep
	}
	return nil
}

// planDelete removes the row with the key. The dead row then carries the
// version; where there was none, the version is remembered.
func planDelete(f Facts, s comparison, plan *Plan) {
	plan.Action = Keep
	if s.lost {
		return
	}
	for i, found := range f.Found {
		if found.Live {
			plan.Action, plan.Fates[i] = Apply, Removed
			return
		}
	}
	plan.Remember = []int{0}
}

// planRow stores the row if nothing is newer. Either way everything older that
// it collides with goes.
func planRow(f Facts, s comparison, plan *Plan) {
	store := !s.lost && f.Image != Gone
	if store && f.Image == Partial {
		plan.Action = Fetch
		return
	}
	plan.Action = Keep
	if store {
		plan.Action = Insert
	}
	for i, found := range f.Found {
		switch {
		case !found.Live || !s.won[i]:
		case !found.sameKey():
			plan.Fates[i] = Evicted
		case store:
			plan.Action, plan.Fates[i] = Apply, Replaced
		default:
			plan.Fates[i] = Removed
		}
	}
	if !store {
		plan.Remember = f.unsurpassed(s)
	}
}

// unsurpassed lists the constraints on which the incoming version is the
// newest. Under an exclusion constraint a newer one may collide with less.
func (f Facts) unsurpassed(s comparison) []int {
	surpassed := make([]bool, len(f.Constraints))
	for i, found := range f.Found {
		for _, on := range found.On {
			surpassed[on] = surpassed[on] || !s.won[i] && f.Constraints[on] == Unique
		}
	}
	var out []int
	for on := range surpassed {
		if !surpassed[on] {
			out = append(out, on)
		}
	}
	return out
}
