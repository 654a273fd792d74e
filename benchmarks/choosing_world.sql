-- The world of benchmarks/choosing.py: a chain of restaurants with years of life behind it.
-- Each part is `-- copy TABLE (COLUMNS)` and one SELECT, read by COPY ... TO and written by COPY ... FROM.
-- Chance is a hash of the row's number: the same world every time. Names in braces are numbers.
-- The small neighbour (a tenth of everything) is there so that an organization is not the whole table.

-- prepare
CREATE FUNCTION chance(number bigint, salt bigint) RETURNS float8 LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (hashint8extended(number, salt) & 1073741823) / 1073741824.0;
CREATE FUNCTION owner_of(number bigint, most bigint) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN number <= most THEN {organization} ELSE {neighbour} END;
CREATE FUNCTION email_of(number bigint) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
-- Two in a hundred share an address with the guest before them (a family).
RETURN 'guest' || number - (chance(number, 30) < 0.02)::int || '@example.com';
CREATE FUNCTION phone_of(number bigint) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
-- No such telephone number can exist: it has two digits too many, and no area is called 555.
RETURN '+155501' || lpad(number::text, 8, '0');

-- copy customers (id, organization_id, external_id, first_name, last_name, birth_month, birth_day, birth_year, language, timezone, tier, tags, do_not_contact, do_not_contact_reason, created_at, updated_at)
SELECT n::bigint, owner_of(n, {customers}), ('c' || n)::varchar, ('Guest' || n % 997)::varchar, ('Number' || n)::varchar,
       CASE WHEN chance(n, 1) < 0.6 THEN extract(month FROM born)::smallint END,
       CASE WHEN chance(n, 1) < 0.6 THEN extract(day FROM born)::smallint END,
       CASE WHEN chance(n, 1) < 0.3 THEN extract(year FROM born)::smallint END,
       'es'::varchar, ''::varchar,
       (CASE WHEN chance(n, 2) < 0.01 THEN 'black' WHEN chance(n, 2) < 0.05 THEN 'gold'
             WHEN chance(n, 2) < 0.15 THEN 'silver' ELSE '' END)::varchar,
       (CASE WHEN chance(n, 3) < 0.2 THEN '{{terrace}}' ELSE '{{}}' END)::varchar[],
       chance(n, 4) < 0.005, ''::varchar, now(), now()
  FROM generate_series(1, {customers} + {customers} / 10) n,
       LATERAL (SELECT date '1950-01-01' + (chance(n, 5) * 20000)::int AS born) birth

-- copy addresses (organization_id, customer_id, channel, address, fingerprint, position, bad_reason)
SELECT owner_of(n, {customers}), n::bigint, way.channel::varchar, way.address::varchar, sha256(way.address::bytea), 0::smallint,
       (CASE WHEN way.channel = 'sms' AND chance(n, 6) < 0.03 THEN 'landline'
             WHEN chance(n, 6) > 0.99 THEN 'permanent' ELSE '' END)::varchar
  FROM generate_series(1, {customers} + {customers} / 10) n,
       LATERAL (VALUES ('email', email_of(n), chance(n, 7) < 0.85),
                       ('sms', phone_of(n), chance(n, 8) < 0.7),
                       ('whatsapp', phone_of(n), chance(n, 8) < 0.45)) way (channel, address, known)
 WHERE way.known

-- copy consents (customer_id, channel, purpose, granted, basis, source, wording, actor, at, recorded_at, is_current)
SELECT n::bigint, way.channel::varchar, 'marketing'::varchar, said.granted, 'consent'::varchar, 'import'::varchar, ''::text,
       ''::varchar, said.at, said.at, said.is_current
  FROM generate_series(1, {customers} + {customers} / 10) n,
       LATERAL (VALUES ('email', 10), ('sms', 11), ('whatsapp', 12)) way (channel, salt),
       -- Five in a hundred have withdrawn what they granted.
       LATERAL (SELECT TRUE AS granted, timestamptz '{now}' - interval '2 years' AS at,
                       chance(n, way.salt) < 0.8 AS is_current
                 WHERE chance(n, way.salt) < 0.85
                UNION ALL
                SELECT FALSE, timestamptz '{now}' - interval '1 year', TRUE
                 WHERE chance(n, way.salt) >= 0.8 AND chance(n, way.salt) < 0.85) said

-- copy suppressions (organization_id, channel, fingerprint, reason, source, created_at)
SELECT owner_of(n, {customers}), ''::varchar, sha256(stopped.address::bytea),
       min(CASE WHEN chance(n, 13) < 0.005 THEN 'opt_out' ELSE 'bounce' END)::varchar, 'import'::varchar, now()
  FROM generate_series(1, {customers} + {customers} / 10) n,
       LATERAL (VALUES (email_of(n), 13), (phone_of(n), 14)) stopped (address, salt)
 WHERE chance(n, stopped.salt) < 0.01
 GROUP BY 1, 3

-- copy visits (organization_id, customer_id, venue_id, external_id, visited_at, service_date, amount, currency, party_size, state)
-- In the order of time, as tills write them; guests of long standing come more often.
SELECT owner.id, guest.id, place.id, ('v' || n)::varchar, ended.at,
       ((ended.at AT TIME ZONE place.timezone) - interval '5 hours')::date,
       (5 + chance(n, 20) * 120)::numeric(12, 2), 'EUR'::varchar, (1 + chance(n, 21) * 6)::smallint,
       (CASE WHEN chance(n, 22) < 0.02 THEN 'voided' WHEN chance(n, 22) < 0.03 THEN 'open'
             ELSE 'completed' END)::varchar
  FROM generate_series(1, {visits} + {visits} / 10) n,
       LATERAL (SELECT owner_of(CASE WHEN n % 11 = 0 THEN {customers} + 1 ELSE 1 END, {customers}) AS id) owner,
       LATERAL (SELECT CASE WHEN n % 11 = 0
                            THEN {customers} + 1 + floor(chance(n, 23) * ({customers} / 10))::bigint
                            ELSE 1 + floor(power(chance(n, 23), 1.3) * {customers})::bigint END AS id) guest,
       LATERAL (SELECT timestamptz '{now}' - interval '5 years'
                       + interval '5 years' * (n / ({visits} + {visits} / 10.0))
                       - interval '8 hours' * chance(n, 24) AS at) ended,
       venues place
 WHERE place.id = CASE WHEN n % 11 = 0 THEN {away} ELSE ({venues})[1 + floor(chance(n, 25) * 4)::int] END

-- copy reservations (organization_id, customer_id, venue_id, external_id, starts_at, party_size, status, confirmed_at, revision, updated_at)
SELECT {organization}::bigint, 1 + floor(chance(n, 40) * {customers})::bigint, {venue}::bigint, ('r' || n)::varchar,
       starts.at, 2::smallint,
       (CASE WHEN chance(n, 41) < 0.1 THEN 'cancelled' WHEN starts.at > timestamptz '{now}' THEN 'confirmed'
             ELSE 'completed' END)::varchar,
       least(timestamptz '{now}', starts.at) - interval '14 days' * chance(n, 42), 0, now()
  FROM generate_series(1, {customers} / 3) n,
       LATERAL (SELECT timestamptz '{now}' - interval '2 years' + interval '25 months' * chance(n, 43) AS at) starts

-- copy tier_changes (customer_id, tier_before, tier, at)
SELECT id, ''::varchar, tier, timestamptz '{now}' - interval '3 years' * chance(id, 50)
  FROM customers WHERE tier <> ''

-- copy messages (id, organization_id, run_id, chunk_number, automation_id, version_id, customer_id, occasion, purpose, channel, account_id, address, reference, due_at, send_after, state, reason, error, epoch, attempt, provider_id, created_at, accepted_at, state_at)
-- Two years of earlier messages, one partition a month; half of them of the win-back's family.
SELECT (regulars_month(planned.at) << 40) + n, {organization}::bigint, md5((n / 2000)::text)::uuid, 1,
       (CASE WHEN n % 2 = 0 THEN '{kin}' ELSE '{stranger}' END)::uuid, 0::bigint, guest.id, ('past:' || n)::varchar,
       'marketing'::varchar, 'email'::varchar, {account}::bigint, email_of(guest.id)::varchar, 0::bigint, planned.at,
       planned.at, 'sent'::varchar, ''::varchar, ''::text, 1, 1::smallint, ('p' || n)::varchar, planned.at, planned.at, planned.at
  FROM generate_series(1, {messages}) n,
       LATERAL (SELECT 1 + floor(chance(n, 60) * {customers})::bigint AS id) guest,
       LATERAL (SELECT timestamptz '{now}' - interval '2 years' + interval '2 years' * (n / {messages}.0)
                       - interval '1 hour' AS at) planned

-- copy occasions (automation_id, customer_id, occasion, kind, message_id)
SELECT automation_id, customer_id, occasion, 'message'::varchar, id FROM messages

-- finish
SELECT setval(pg_get_serial_sequence('customers', 'id'), (SELECT max(id) FROM customers));
SELECT setval('messages_number', {messages} + 1);
