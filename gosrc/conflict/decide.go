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
	s, err := p.settle(f)
	switch {
	case err != nil:
		return Plan{}, err
	case s.raised:
		plan.Action = Raise
	case s.ignored:
		plan.Action = Keep
	case f.Operation == OpDelete:
		planDelete(f, s, &plan)
	default:
		planRow(f, s, &plan)
	}
	plan.Type, plan.Rule, plan.Decisive = s.kind, s.rule, s.decisive
	plan.Resolution = resolutions[plan.Action]
	return plan, nil
}

// settlement is how an incoming version fares against each thing found.
type settlement struct {
	won      []bool // against Facts.Found
	lost     bool   // against at least one of them
	ignored  bool   // a resolver keeps what is older: the change is as if it never came
	raised   bool
	kind     Type // of the conflict that decided
	rule     string
	decisive int // place in Facts.Found; -1: none
}

// settle asks the rules about each pair. The first loss names the outcome, or
// the first pair if nothing is lost.
func (p Policy) settle(f Facts) (settlement, error) {
	s := settlement{won: make([]bool, len(f.Found)), rule: "no_conflict", decisive: -1}
	for i, found := range f.Found {
		kind := DeleteRecentlyUpdated
		if f.Operation != OpDelete {
			kind = f.typeOf(found)
		}
		if err := p.settleOne(&s, i, Conflict{kind, found.Version, f.Remote, true}); err != nil {
			return s, err
		}
	}
	missing := Conflict{Remote: f.Remote, Complete: true}
	switch live, known := f.keyIsHere(); {
	case f.Operation == OpDelete && !live:
		s.kind, s.rule, s.decisive = DeleteMissing, "nothing_to_delete", -1
	case f.Operation == OpUpdate && !f.KeyChanged && !known:
		missing.Type = UpdateMissing
		return s, p.settleOne(&s, -1, missing)
	}
	return s, nil
}

func (f Facts) keyIsHere() (live, known bool) {
	for _, found := range f.Found {
		live = live || found.sameKey() && found.Live
		known = known || found.sameKey()
	}
	return live, known
}

// settleOne records one pair; i is its place in Facts.Found, or -1.
func (p Policy) settleOne(s *settlement, i int, c Conflict) error {
	decision, err := p.Resolve(c)
	if err != nil {
		return err
	}
	keep := decision.Action == Keep
	if s.kind == 0 || keep && !s.lost || decision.Action == Raise {
		s.kind, s.rule, s.decisive = c.Type, decision.Rule, i
	}
	s.raised = s.raised || decision.Action == Raise
	s.lost = s.lost || keep
	s.ignored = s.ignored || keep && Compare(c.Remote, c.Local) >= 0
	if i >= 0 {
		s.won[i] = !keep
	}
	return nil
}

// planDelete removes the row with the key. The dead row then carries the
// version; where there was none, the version is remembered.
func planDelete(f Facts, s settlement, plan *Plan) {
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
func planRow(f Facts, s settlement, plan *Plan) {
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
func (f Facts) unsurpassed(s settlement) []int {
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
