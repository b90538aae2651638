package main

import "fmt"

// workload is SQL that the sender runs while receiving is paused.
type workload struct {
	name string
	sql  string
}

const schema = `CREATE TABLE bulk (id bigint PRIMARY KEY, a integer NOT NULL, b bigint, c text, d timestamptz);
CREATE TABLE single (id bigint PRIMARY KEY, a integer NOT NULL, b bigint, c text, d timestamptz);
CREATE TABLE done (id bigint PRIMARY KEY)`

// workloads are those of the design's prototype, in an order in which each
// finds the rows that it needs.
func workloads(scale float64) []workload {
	million, thousands := int(1_000_000*scale), int(200_000*scale)
	return []workload{
		{fmt.Sprintf("insert %d rows, one transaction", million), fmt.Sprintf(
			`INSERT INTO bulk SELECT g, g %% 1000, g * 7, 'row number ' || g, now() FROM generate_series(1, %d) g`, million)},
		{fmt.Sprintf("insert %d rows, one each", thousands), fmt.Sprintf(
			`DO $$ BEGIN FOR i IN 1..%d LOOP
			   INSERT INTO single VALUES (i, i %% 1000, i * 7, 'row number ' || i, now()); COMMIT;
			 END LOOP; END $$`, thousands)},
		{fmt.Sprintf("update %d rows, 100 each", thousands), fmt.Sprintf(
			`DO $$ BEGIN FOR i IN 0..%d LOOP
			   UPDATE bulk SET a = a + 1, c = 'changed ' || id WHERE id BETWEEN i * 100 + 1 AND i * 100 + 100; COMMIT;
			 END LOOP; END $$`, thousands/100-1)},
		{fmt.Sprintf("delete %d rows, 100 each", thousands), fmt.Sprintf(
			`DO $$ BEGIN FOR i IN 0..%d LOOP
			   DELETE FROM bulk WHERE id BETWEEN %d + i * 100 + 1 AND %d + i * 100 + 100; COMMIT;
			 END LOOP; END $$`, thousands/100-1, thousands, thousands)},
	}
}

// emptyTables brings a variant back to where it began, replicated like all else.
const emptyTables = "TRUNCATE bulk, single, done"
