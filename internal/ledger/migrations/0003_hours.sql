-- What the observations of an hour of a series come to, so that lines over weeks
-- need not read every one. The first two triggers keep it; PruneObservations takes
-- hours away.
CREATE TABLE hour (
	series INTEGER NOT NULL REFERENCES series (id),
	hour   INTEGER NOT NULL, -- since 1970
	last   INTEGER NOT NULL, -- time of its latest observation
	count  INTEGER NOT NULL,
	total  REAL NOT NULL,
	least  REAL NOT NULL,
	most   REAL NOT NULL,
	PRIMARY KEY (series, hour)
) STRICT, WITHOUT ROWID;

INSERT INTO hour SELECT series, time / 3600, max(time), count(*), sum(number), min(number), max(number)
	FROM observation GROUP BY series, time / 3600;

CREATE TRIGGER observation_made AFTER INSERT ON observation BEGIN
	INSERT INTO hour VALUES (NEW.series, NEW.time / 3600, NEW.time, 1, NEW.number, NEW.number, NEW.number)
		ON CONFLICT DO UPDATE SET last = max(last, excluded.last), count = count + 1, total = total + excluded.total,
			least = min(least, excluded.least), most = max(most, excluded.most);
END;

-- A value that a correction has replaced, with the entry that had brought it.
CREATE TABLE replaced (
	series INTEGER NOT NULL REFERENCES series (id),
	time   INTEGER NOT NULL,
	value  TEXT NOT NULL,
	number REAL NOT NULL,
	entry  INTEGER NOT NULL
) STRICT;
CREATE INDEX replaced_time ON replaced (series, time);

CREATE TRIGGER observation_corrected AFTER UPDATE ON observation BEGIN
	INSERT INTO replaced VALUES (OLD.series, OLD.time, OLD.value, OLD.number, OLD.entry);
	UPDATE hour SET (count, total, least, most) = (SELECT count(*), sum(number), min(number), max(number) FROM observation
		WHERE series = NEW.series AND time >= NEW.time / 3600 * 3600 AND time < (NEW.time / 3600 + 1) * 3600)
		WHERE series = NEW.series AND hour = NEW.time / 3600;
END;
