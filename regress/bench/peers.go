package main

import (
	"errors"
	"fmt"
	"time"

	"bdr/gosrc/pgtest"
)

// peersResult is what one sender spends on one and on seven receivers.
type peersResult struct {
	Date    string    `json:"date"`
	Changes int       `json:"changes"`
	Loads   []fanCost `json:"loads"`
}

// fanCost is one load.
type fanCost struct {
	Variant       string  `json:"variant"`
	Receivers     int     `json:"receivers"`
	Wall          float64 `json:"wall"`          // seconds until all have it
	Sender        float64 `json:"sender"`        // CPU seconds of all walsenders
	Manager       float64 `json:"manager"`       // CPU seconds of the sender's manager
	Memory        float64 `json:"memory"`        // MB, private, all walsenders
	ManagerMemory float64 `json:"managerMemory"` // MB, private, the sender's
}

// peersMax is the number of receivers in the larger load.
const peersMax = 7

// small servers, as there are eight of them on one machine.
var smallSettings = map[string]string{
	"shared_buffers": "16MB", "autovacuum": "off", "synchronous_commit": "off", "wal_retrieve_retry_interval": "10ms", "max_wal_size": "4GB",
	"wal_sender_timeout": "60s",
}

// peers measures real clusters: every node streams to every other one. Native
// has as many subscribers of one publisher.
func peers(o options, r *report) error {
	var names []string
	for i := range peersMax + 1 {
		names = append(names, fmt.Sprintf("node%d", i+1))
	}
	servers, stop, err := newServers(names, smallSettings)
	if err != nil {
		return err
	}
	defer stop()
	chosen, err := chosenVariants([]string{"binary", "bdr"})
	if err != nil {
		return err
	}
	r.Peers = &peersResult{Date: today(), Changes: int(200_000 * o.scale)}
	for i, v := range chosen {
		f := &fan{v: v, sender: servers[0]}
		for _, receivers := range []int{1, peersMax} {
			if err := f.grow(servers[:receivers+1]); err != nil {
				return fmt.Errorf("%s, %d receivers: %w", v.name, receivers, err)
			}
			cost, err := f.measure(r.Peers.Changes, i*peersMax+receivers)
			if err != nil {
				return fmt.Errorf("%s, %d receivers: %w", v.name, receivers, err)
			}
			r.Peers.Loads = append(r.Peers.Loads, cost)
		}
		if err := f.end(); err != nil {
			return err
		}
	}
	return nil
}

// fan is a sender with its receivers.
type fan struct {
	v         variant
	sender    *pgtest.Server
	receivers []*pgtest.Server
}

// grow makes the servers that are not yet part of it receivers. It empties the
// tables: native's new subscribers copy nothing.
func (f *fan) grow(servers []*pgtest.Server) error {
	if len(f.receivers) > 0 {
		if _, err := f.sender.Run(f.v.database, "TRUNCATE bulk, done"); err != nil {
			return err
		}
	}
	for i, s := range servers {
		if i > 0 && i <= len(f.receivers) || i == 0 && len(f.receivers) > 0 {
			continue
		}
		if _, err := s.Run("postgres", "CREATE DATABASE "+f.v.database); err != nil {
			return err
		}
		if err := f.add(s); err != nil {
			return err
		}
		if s != f.sender {
			f.receivers = append(f.receivers, s)
		}
	}
	return nil
}

func (f *fan) add(s *pgtest.Server) error {
	if s == f.sender || !f.v.both {
		if _, err := s.Run(f.v.database, fanSchema); err != nil {
			return err
		}
	}
	if f.v.both {
		return member(s, f.sender)
	}
	sql := "CREATE PUBLICATION p FOR ALL TABLES"
	if s != f.sender {
		sql = fmt.Sprintf("CREATE SUBSCRIPTION s CONNECTION '%s' PUBLICATION p WITH (copy_data = false, binary = true, slot_name = '%s')",
			f.sender.DSN(f.v.database), s.Name)
	}
	_, err := s.Run(f.v.database, sql)
	return err
}

const fanSchema = `CREATE TABLE bulk (id bigint PRIMARY KEY, a integer NOT NULL, b bigint, c text, d timestamptz);
CREATE TABLE done (id bigint PRIMARY KEY)`

func (f *fan) each(sql string) error {
	for _, s := range f.receivers {
		if _, err := s.Run(f.v.database, sql); err != nil {
			return fmt.Errorf("%s: %s", s.Name, pgtest.Explain(err))
		}
	}
	return nil
}

// end stops every stream of the variant, also those to the sender.
func (f *fan) end() error {
	if err := f.each(f.v.pause); err != nil {
		return err
	}
	if f.v.both {
		if _, err := f.sender.Run(f.v.database, f.v.pause); err != nil {
			return err
		}
	}
	return f.waitPaused()
}

func (f *fan) waitPaused() error {
	return waitUntil("the paused streams have ended", func() bool { return len(f.sender.ProcessesTitled("walsender")) == 0 })
}

// measure pauses all receivers, generates the load and releases them at once.
func (f *fan) measure(changes, mark int) (fanCost, error) {
	if err := f.generate(changes, mark); err != nil {
		return fanCost{}, err
	}
	p := &pair{f.sender, f.sender} // of the sender's own manager
	manager := managerTime(f.v.processes(p, managerRole))
	began := time.Now()
	if err := f.each(f.v.release); err != nil {
		return fanCost{}, err
	}
	for _, s := range f.receivers {
		if err := f.v.waitMark(&pair{f.sender, s}, mark); err != nil {
			return fanCost{}, err
		}
	}
	cost := fanCost{Variant: f.v.name, Receivers: len(f.receivers), Wall: time.Since(began).Seconds()}
	for _, process := range f.sender.ProcessesTitled("walsender") {
		cost.Sender += process.CPUSeconds()
		cost.Memory += float64(process.PrivateKilobytes()) / 1024
	}
	managers := f.v.processes(p, managerRole)
	cost.Manager = managerTime(managers) - manager
	for _, process := range managers {
		cost.ManagerMemory += float64(process.PrivateKilobytes()) / 1024
	}
	for _, s := range f.receivers {
		if err := f.v.check(&pair{f.sender, s}, []string{"bulk"}); err != nil {
			return fanCost{}, err
		}
	}
	return cost, nil
}

func managerTime(processes []pgtest.Process) float64 {
	total := 0.0
	for _, process := range processes {
		total += process.CPUSeconds()
	}
	return total
}

// generate writes the load in transactions of a hundred rows.
func (f *fan) generate(changes, mark int) error {
	if err := f.each(f.v.release); err != nil {
		return err
	}
	if err := f.v.advanceSlot(f.sender); err != nil {
		return err
	}
	if err := f.each(f.v.pause); err != nil {
		return err
	}
	if err := f.waitPaused(); err != nil {
		return err
	}
	sql := loop(0, max(1, changes/100)-1, fmt.Sprintf(`INSERT INTO bulk SELECT %d::bigint * 1000000 + g, g %% 1000, g * 7, 'row number ' || g, now()
 FROM generate_series(i * 100 + 1, i * 100 + 100) g`, mark))
	if _, err := f.sender.RunTimeout(f.v.database, sql, limit); err != nil {
		return errors.New(pgtest.Explain(err))
	}
	return f.v.mark(&pair{sender: f.sender}, mark)
}

func (r *peersResult) table() string {
	out := newTable("Variant", "Receivers", "Wall s, all have it", "Sender CPU s", "per million changes and receiver", "Walsenders MB, together", "Manager CPU s", "Manager MB")
	for _, c := range r.Loads {
		manager, memory := "", ""
		if c.ManagerMemory > 0 {
			manager, memory = fmt.Sprintf("%.2f", c.Manager), fmt.Sprintf("%.1f", c.ManagerMemory)
		}
		out.row(c.Variant, fmt.Sprint(c.Receivers), fmt.Sprintf("%.2f", c.Wall), fmt.Sprintf("%.2f", c.Sender),
			fmt.Sprintf("%.2f", c.Sender/float64(c.Receivers)/(float64(r.Changes)/1e6)), fmt.Sprintf("%.1f", c.Memory), manager, memory)
	}
	return fmt.Sprintf("%d rows, 100 per transaction; eight small servers on one machine, %s.\n\n", r.Changes, r.Date) + out.String()
}
