--
-- PostgreSQL database dump
--


-- Dumped from database version 15.18 (Debian 15.18-0+deb12u1)
-- Dumped by pg_dump version 15.18 (Debian 15.18-0+deb12u1)

SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;

--
-- Name: audit_checkpoint_is_next(); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.audit_checkpoint_is_next() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    IF NEW.size <= (SELECT coalesce(max(size), 0) FROM audit_checkpoints) THEN
        RAISE EXCEPTION 'the audit log is append-only: a checkpoint is over more entries than the one before';
    END IF;
    RETURN NEW;
END $$;


--
-- Name: audit_entry_is_next(); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.audit_entry_is_next() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    IF NEW.sequence <> (SELECT coalesce(max(sequence), 0) + 1 FROM audit_entries) THEN
        RAISE EXCEPTION 'the audit log is append-only: the sequence number is not the next';
    END IF;
    RETURN NEW;
END $$;


--
-- Name: audit_entry_stays(); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.audit_entry_stays() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    IF NEW.sequence = OLD.sequence AND (
        NEW.entry = OLD.entry AND OLD.leaf IS NULL AND NEW.leaf IS NOT NULL
        OR NEW.entry = '' AND NEW.leaf = OLD.leaf AND OLD.sequence <= (SELECT pruned FROM audit_log)) THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'the audit log is append-only: entries cannot be changed';
END $$;


--
-- Name: audit_log_stays(); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.audit_log_stays() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    IF NEW.id <> OLD.id OR NEW.origin <> OLD.origin OR NEW.pruned < OLD.pruned
        OR NEW.pruned > (SELECT coalesce(max(size), 0) FROM audit_checkpoints) THEN
        RAISE EXCEPTION 'the audit log is append-only: only what is behind a signed checkpoint can be pruned';
    END IF;
    RETURN NEW;
END $$;


--
-- Name: process_may_be(); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.process_may_be() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    IF NOT EXISTS (SELECT 1 FROM process_moves WHERE after = NEW.state) THEN
        RAISE EXCEPTION 'there is no such state of a process';
    END IF;
    RETURN NEW;
END $$;


--
-- Name: process_may_move(); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.process_may_move() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    IF NOT EXISTS (SELECT 1 FROM process_moves WHERE before = OLD.state AND after = NEW.state) THEN
        RAISE EXCEPTION 'a process cannot go from its state to this one';
    END IF;
    IF (NEW.id, NEW.card, NEW.client, NEW.operator, NEW.means, NEW.reason, NEW.ticket, NEW.verification, NEW.override_reason, NEW.approval)
        <> (OLD.id, OLD.card, OLD.client, OLD.operator, OLD.means, OLD.reason, OLD.ticket, OLD.verification, OLD.override_reason, OLD.approval)
        OR OLD.approved <> '' AND (NEW.approved, NEW.approver) <> (OLD.approved, OLD.approver) THEN
        RAISE EXCEPTION 'what a process was started for cannot be changed';
    END IF;
    RETURN NEW;
END $$;


--
-- Name: refuse_change(); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.refuse_change() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    RAISE EXCEPTION '%', TG_ARGV[0];
END $$;


SET default_tablespace = '';

SET default_table_access_method = heap;

--
-- Name: approvals; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.approvals (
    proposal text NOT NULL COLLATE pg_catalog."C",
    officer text NOT NULL COLLATE pg_catalog."C",
    place integer NOT NULL,
    hash text NOT NULL,
    at bigint NOT NULL,
    person text DEFAULT ''::text NOT NULL COLLATE pg_catalog."C"
);


--
-- Name: audit_checkpoints; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.audit_checkpoints (
    size bigint NOT NULL,
    note text NOT NULL,
    created_at bigint NOT NULL
);


--
-- Name: audit_cursors; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.audit_cursors (
    sink text NOT NULL COLLATE pg_catalog."C",
    sequence bigint NOT NULL,
    changed_at bigint NOT NULL
);


--
-- Name: audit_entries; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.audit_entries (
    sequence bigint NOT NULL,
    entry text NOT NULL,
    leaf bytea
);


--
-- Name: audit_log; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.audit_log (
    id integer NOT NULL,
    origin text NOT NULL,
    pruned bigint NOT NULL,
    CONSTRAINT audit_log_id_check CHECK ((id = 1))
);


--
-- Name: audit_nodes; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.audit_nodes (
    level integer NOT NULL,
    place bigint NOT NULL,
    hash bytea NOT NULL
);


--
-- Name: card_syncs; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.card_syncs (
    id text NOT NULL COLLATE pg_catalog."C",
    source text NOT NULL COLLATE pg_catalog."C",
    hash text NOT NULL COLLATE pg_catalog."C",
    total bigint NOT NULL,
    lines bigint NOT NULL,
    created bigint NOT NULL,
    updated bigint NOT NULL,
    unchanged bigint NOT NULL,
    refused bigint NOT NULL,
    missing bigint NOT NULL,
    started_at bigint NOT NULL,
    changed_at bigint NOT NULL,
    finished_at bigint
);


--
-- Name: card_types; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.card_types (
    id text NOT NULL COLLATE pg_catalog."C",
    name text NOT NULL,
    profile text NOT NULL,
    unblock_remote text NOT NULL,
    updated_by text NOT NULL,
    updated_at bigint
);


--
-- Name: card_words; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.card_words (
    word text NOT NULL COLLATE pg_catalog."C",
    serial text NOT NULL COLLATE pg_catalog."C"
);


--
-- Name: card_words_made; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.card_words_made (
    id integer NOT NULL,
    folding text NOT NULL,
    CONSTRAINT card_words_made_id_check CHECK ((id = 1))
);


--
-- Name: cards; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.cards (
    serial text NOT NULL COLLATE pg_catalog."C",
    type text NOT NULL,
    state text NOT NULL,
    cuid bytea,
    kdd bytea,
    master_key_version integer NOT NULL,
    holder_id text NOT NULL,
    holder_name text NOT NULL,
    holder_email text NOT NULL,
    holder_employee_number text NOT NULL,
    holder_unit text NOT NULL,
    holder_groups text NOT NULL,
    holder_state text NOT NULL,
    synced_at bigint,
    wrapped_key bytea,
    unit text DEFAULT ''::text NOT NULL,
    assurance text DEFAULT ''::text NOT NULL,
    holder_privileged boolean DEFAULT false NOT NULL,
    source text DEFAULT ''::text NOT NULL,
    words text DEFAULT ''::text NOT NULL
);


--
-- Name: current_versions; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.current_versions (
    key text NOT NULL COLLATE pg_catalog."C",
    version integer NOT NULL
);


--
-- Name: cursor_key; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.cursor_key (
    id integer NOT NULL,
    key bytea NOT NULL,
    CONSTRAINT cursor_key_id_check CHECK ((id = 1)),
    CONSTRAINT cursor_key_key_check CHECK ((length(key) = 32))
);


--
-- Name: goose_db_version; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.goose_db_version (
    id integer NOT NULL,
    version_id bigint NOT NULL,
    is_applied boolean NOT NULL,
    tstamp timestamp without time zone DEFAULT now() NOT NULL
);


--
-- Name: goose_db_version_id_seq; Type: SEQUENCE; Schema: public; Owner: -
--

ALTER TABLE public.goose_db_version ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME public.goose_db_version_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);


--
-- Name: heartbeat; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.heartbeat (
    id integer NOT NULL,
    at bigint NOT NULL,
    CONSTRAINT heartbeat_id_check CHECK ((id = 1))
);


--
-- Name: key_records; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.key_records (
    key text NOT NULL COLLATE pg_catalog."C",
    version integer NOT NULL,
    state text NOT NULL,
    type text NOT NULL,
    use text NOT NULL,
    kcv text NOT NULL,
    proposal text NOT NULL,
    created_at bigint,
    changed_at bigint,
    revision bigint NOT NULL,
    CONSTRAINT key_records_revision_check CHECK ((revision > 0))
);


--
-- Name: limits; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.limits (
    key text NOT NULL COLLATE pg_catalog."C",
    arrival bigint NOT NULL
);


--
-- Name: operators; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.operators (
    id text NOT NULL COLLATE pg_catalog."C",
    name text NOT NULL,
    roles text NOT NULL,
    groups text NOT NULL,
    unit text NOT NULL,
    email text NOT NULL,
    employee_number text NOT NULL,
    issuer text NOT NULL,
    subject text NOT NULL,
    active boolean NOT NULL,
    updated_by text NOT NULL,
    updated_at bigint
);


--
-- Name: policy_decisions; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.policy_decisions (
    sequence bigint NOT NULL,
    first bigint NOT NULL,
    number integer NOT NULL,
    decided bytea NOT NULL
);


--
-- Name: policy_versions; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.policy_versions (
    version integer NOT NULL,
    fingerprint text NOT NULL,
    proposal text NOT NULL COLLATE pg_catalog."C",
    activated_at bigint NOT NULL,
    CONSTRAINT policy_versions_version_check CHECK ((version > 0))
);


--
-- Name: process_moves; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.process_moves (
    before text NOT NULL COLLATE pg_catalog."C",
    after text NOT NULL COLLATE pg_catalog."C"
);


--
-- Name: processes; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.processes (
    id text NOT NULL COLLATE pg_catalog."C",
    state text NOT NULL,
    outcome text NOT NULL,
    card text NOT NULL COLLATE pg_catalog."C",
    client text NOT NULL,
    operator text NOT NULL,
    reason text NOT NULL,
    started_at bigint,
    expires_at bigint,
    answered_at bigint,
    finished_at bigint,
    answer bigint,
    revision bigint NOT NULL,
    means text DEFAULT 'named by the client'::text NOT NULL,
    ticket text DEFAULT ''::text NOT NULL,
    verification text DEFAULT ''::text NOT NULL,
    override_reason text DEFAULT ''::text NOT NULL,
    approval text DEFAULT ''::text NOT NULL,
    approver text DEFAULT ''::text NOT NULL,
    verdict text DEFAULT ''::text NOT NULL,
    approved text DEFAULT ''::text NOT NULL,
    decided_at bigint,
    challenge text DEFAULT ''::text NOT NULL COLLATE pg_catalog."C",
    begun_key text COLLATE pg_catalog."C",
    begun_content text,
    given_key text COLLATE pg_catalog."C",
    given_content text,
    CONSTRAINT processes_revision_check CHECK ((revision > 0))
);


--
-- Name: proposals; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.proposals (
    id text NOT NULL COLLATE pg_catalog."C",
    statement text NOT NULL,
    created_at bigint NOT NULL,
    expires_at bigint NOT NULL,
    state text NOT NULL,
    ended_by text NOT NULL,
    end_reason text NOT NULL,
    ended_at bigint,
    result text NOT NULL,
    revision bigint NOT NULL,
    kind text DEFAULT 'key'::text NOT NULL COLLATE pg_catalog."C",
    CONSTRAINT key_proposals_revision_check CHECK ((revision > 0))
);


--
-- Name: sessions; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.sessions (
    hash bytea NOT NULL,
    person text NOT NULL COLLATE pg_catalog."C",
    token text NOT NULL,
    began_at bigint NOT NULL,
    seen_at bigint NOT NULL,
    ends_at bigint NOT NULL
);


--
-- Name: unconfirmed; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.unconfirmed (
    card text NOT NULL COLLATE pg_catalog."C",
    count bigint NOT NULL,
    given bigint DEFAULT 1 NOT NULL,
    latest text DEFAULT ''::text NOT NULL COLLATE pg_catalog."C",
    CONSTRAINT unconfirmed_check CHECK ((given >= count)),
    CONSTRAINT unconfirmed_count_check CHECK ((count >= 0))
);


--
-- Data for Name: approvals; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.approvals VALUES ('77252654-5bd4-4ba0-bd64-36e97786ec1f', 'otto', 0, '8cf07850e554d908fd7b7cde8e30b4d6b121ee4dd560703462c74e49f5e06ece', 1795581238977841, '');
INSERT INTO public.approvals VALUES ('0f10b9ce-b70f-4d0d-ab2e-56efa4320f97', 'otto', 0, 'b56f4e5574a6784c9104d5c9b21db2ad4f636a0cde4d47e54816a521abe599b9', 1795581239046742, '');


--
-- Data for Name: audit_checkpoints; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.audit_checkpoints VALUES (44, 'latchkey/cfe74b83636a42e7ab0371301546615a
44
/1b7R8byYVzkoXmu/4tFlTOdborqfKrhY6OsifG91iA=

— latchkey/cfe74b83636a42e7ab0371301546615a aMIFKTBGAiEAhYHsQIbxTHTcCKrCZh0UbXowM4QNR9MVZLOqyHnq4mkCIQCrTPnbEgcmepYOYor4ayKPwPb7arXn2jHkfNIlWmMgeQ==
', 1795581239056898);


--
-- Data for Name: audit_cursors; Type: TABLE DATA; Schema: public; Owner: -
--



--
-- Data for Name: audit_entries; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.audit_entries VALUES (1, '{"sequence":1,"time":"2026-11-25T04:33:58.825886Z","action":"audit.key","outcome":"permit","client":"latchkey","detail":"latchkey/cfe74b83636a42e7ab0371301546615a+68c20529+AjBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABKCruZXtWrY0WwHDLp9bI9keOvkkawudrDGTPt6KA1GuMdQYa+RTKwEs/IwU4CG+Z5HnLSVzEuL4hJCMMWrnQx8="}', '\x31fc5defb270cf2c915d7fac86b4e038ab5ebeb244fcb6f43c714fdd97950c6b');
INSERT INTO public.audit_entries VALUES (2, '{"sequence":2,"time":"2026-11-25T04:33:58.845727Z","action":"card-type.put","outcome":"permit","client":"administrator","address":"127.0.0.1","request_id":"3ff7a7e2-eb31-4348-88f3-053f2b1576a8","card_type":"counted","profile":"counted","detail":"unblock card remote is on for blocked"}', '\xa32362d8770e30768df16bdfa64f3f7d48ccf6609f98b634815bd2a7a163f30a');
INSERT INTO public.audit_entries VALUES (3, '{"sequence":3,"time":"2026-11-25T04:33:58.859019Z","action":"card-type.put","outcome":"permit","client":"administrator","address":"127.0.0.1","request_id":"c3cc8332-cdea-4e6f-9e57-f4dada1f7286","card_type":"tdes3","profile":"gids-tdes3","detail":"unblock card remote is on for active, blocked"}', '\xc92d9adca962fc0d46092eb3dd2131b9f40bc1d8fa631cd021833869dcdc77b6');
INSERT INTO public.audit_entries VALUES (4, '{"sequence":4,"time":"2026-11-25T04:33:58.865697Z","action":"card.put","outcome":"permit","client":"identity-manager","address":"127.0.0.1","request_id":"1d0fd354-7548-40a5-b34b-a93a0d5bb0bc","card":"OLD-DONE","card_type":"tdes3","profile":"gids-tdes3","key_version":1,"detail":"card blocked, holder active"}', '\x6acf18205768497ac7f58d6b6c3ffab302550839e8a86125dbb57180f0bcdf6c');
INSERT INTO public.audit_entries VALUES (5, '{"sequence":5,"time":"2026-11-25T04:33:58.872973Z","action":"card-type.put","outcome":"permit","client":"administrator","address":"127.0.0.1","request_id":"af9f8e36-4bb4-4d9c-bceb-475a30ab9ec2","card_type":"aes256","profile":"gids-aes256","detail":"unblock card remote is on for active, blocked"}', '\xdf2fbcfd4fdbf2dbdd63df9d3b58b1eba05507d23f6cfd85412d11c919df69f9');
INSERT INTO public.audit_entries VALUES (6, '{"sequence":6,"time":"2026-11-25T04:33:58.876381Z","action":"card.put","outcome":"permit","client":"identity-manager","address":"127.0.0.1","request_id":"eb185386-82ac-4675-82c6-c35b84f785f3","card":"OLD-AES","card_type":"aes256","profile":"gids-aes256","key_version":1,"detail":"card blocked, holder active"}', '\x9b5435d096589bc44c5d9b8e9c183dce8c5105fbe76c1100293d1799ba25a82a');
INSERT INTO public.audit_entries VALUES (7, '{"sequence":7,"time":"2026-11-25T04:33:58.883697Z","action":"card.put","outcome":"permit","client":"identity-manager","address":"127.0.0.1","request_id":"e4373ab0-4729-4d8a-8a83-2c93e0c241f6","card":"OLD-COUNTED","card_type":"counted","profile":"counted","key_version":1,"detail":"card blocked, holder active"}', '\xdc3e002dbf8596396095383706f467650a13cc1818c7cedeb09c93789edf8c09');
INSERT INTO public.audit_entries VALUES (8, '{"sequence":8,"time":"2026-11-25T04:33:58.892695Z","action":"card.put","outcome":"permit","client":"identity-manager","address":"127.0.0.1","request_id":"10923088-a620-4a7c-94ac-678942da1e12","card":"OLD-REVOKED","card_type":"tdes3","profile":"gids-tdes3","key_version":1,"detail":"card revoked, holder active"}', '\x094d6b7d27bee08a449f8e28915337a2d0419a37134775d657ab027eaa127810');
INSERT INTO public.audit_entries VALUES (9, '{"sequence":9,"time":"2026-11-25T04:33:58.899555Z","action":"card.put","outcome":"permit","client":"identity-manager","address":"127.0.0.1","request_id":"cc1a5adf-25ac-4b6c-a25d-489a8d905a3c","card":"OLD-OF-ANNA","card_type":"tdes3","profile":"gids-tdes3","key_version":1,"detail":"card blocked, holder active"}', '\x5ede7d77e74e410bed9d9a66e8f8a16392b7651c3ee46fcef241c7aa2825f29d');
INSERT INTO public.audit_entries VALUES (10, '{"sequence":10,"time":"2026-11-25T04:33:58.907032Z","action":"card.put","outcome":"permit","client":"identity-manager","address":"127.0.0.1","request_id":"1042b501-524d-482c-81f2-0e58daa64dbb","card":"OLD-OPEN","card_type":"tdes3","profile":"gids-tdes3","key_version":1,"detail":"card blocked, holder active"}', '\x9cf567a76f929f6ee0a3658b48e2fa4e4f1b6fdab229e44dee04e10d7bb85a7c');
INSERT INTO public.audit_entries VALUES (11, '{"sequence":11,"time":"2026-11-25T04:33:58.912224Z","action":"unblock.start","outcome":"permit","client":"identity-manager","operator":"anna","delegation":"named by the client","address":"127.0.0.1","request_id":"5a702d92-0ce4-40da-b4a7-3d9635c7b6f8","process":"0d844a7d-dc46-4311-86d8-115d20b5b27f","card":"OLD-DONE","card_type":"tdes3","profile":"gids-tdes3","master_key":"master","key_version":1,"policies":["operator-with-reason"],"policy_version":"061d0cd364acda7d1b4547c7f65367dc","reason":"INC-20417, PIN forgotten","latency_us":1464}', '\x8f11f0546f6b2d382674374f490dfdfa69615b2e71976734d960b5b383aef6b6');
INSERT INTO public.audit_entries VALUES (12, '{"sequence":12,"time":"2026-11-25T04:33:58.919925Z","action":"unblock.respond","outcome":"permit","client":"identity-manager","operator":"anna","delegation":"named by the client","address":"127.0.0.1","request_id":"dc6913c4-04d1-41ae-ab43-aebfc89ffba9","process":"0d844a7d-dc46-4311-86d8-115d20b5b27f","card":"OLD-DONE","card_type":"tdes3","profile":"gids-tdes3","master_key":"master","key_version":1,"policies":["operator-with-reason"],"policy_version":"061d0cd364acda7d1b4547c7f65367dc","challenge":"1603EBDF1C8A2E72","reason":"INC-20417, PIN forgotten","latency_us":2558}', '\x15d549843d61f21bf113ae2cdaffba36c14402121d0acc1e0972d55c15a6c6f5');
INSERT INTO public.audit_entries VALUES (13, '{"sequence":13,"time":"2026-11-25T04:33:58.924274Z","action":"unblock.complete","outcome":"permit","client":"identity-manager","operator":"anna","delegation":"named by the client","address":"127.0.0.1","request_id":"ecc7d4a1-07c3-4234-b631-acc6b1ed27b1","process":"0d844a7d-dc46-4311-86d8-115d20b5b27f","card":"OLD-DONE","reason":"INC-20417, PIN forgotten","detail":"pin-changed"}', '\x334af71c5573edab7601e40ebd2c423d8c4cf579a9153830cea3a8cc25d136aa');
INSERT INTO public.audit_entries VALUES (14, '{"sequence":14,"time":"2026-11-25T04:33:58.928107Z","action":"unblock.start","outcome":"permit","client":"identity-manager","operator":"anna","delegation":"named by the client","address":"127.0.0.1","request_id":"b4691b22-2622-4c28-9bc1-419d221d46b3","process":"9b0e42ae-baba-493d-92a1-52b4dca8c0ca","card":"OLD-DONE","card_type":"tdes3","profile":"gids-tdes3","master_key":"master","key_version":1,"policies":["operator-with-reason"],"policy_version":"061d0cd364acda7d1b4547c7f65367dc","reason":"INC-20417, PIN forgotten","latency_us":882}', '\x24aefa6e888635bfcd40eda1a8a250ca5d63e2dbcf9cae232253733410b9bb30');
INSERT INTO public.audit_entries VALUES (15, '{"sequence":15,"time":"2026-11-25T04:33:58.931649Z","action":"unblock.respond","outcome":"permit","client":"identity-manager","operator":"anna","delegation":"named by the client","address":"127.0.0.1","request_id":"910e6914-0943-4a6f-959f-ae8a13ea73e0","process":"9b0e42ae-baba-493d-92a1-52b4dca8c0ca","card":"OLD-DONE","card_type":"tdes3","profile":"gids-tdes3","master_key":"master","key_version":1,"policies":["operator-with-reason"],"policy_version":"061d0cd364acda7d1b4547c7f65367dc","challenge":"1603EBDF1C8A2E73","reason":"INC-20417, PIN forgotten","latency_us":1577}', '\x71b46ec3072f8c8f5a76b5d3ffcdf90647af30808616328f4d087924d47694c5');
INSERT INTO public.audit_entries VALUES (16, '{"sequence":16,"time":"2026-11-25T04:33:58.934742Z","action":"unblock.complete","outcome":"permit","client":"identity-manager","operator":"anna","delegation":"named by the client","address":"127.0.0.1","request_id":"e94554d8-c52d-48c2-8f20-68199e2467cd","process":"9b0e42ae-baba-493d-92a1-52b4dca8c0ca","card":"OLD-DONE","reason":"INC-20417, PIN forgotten","detail":"failed"}', '\xaf3da5b50f9725403f56e962e3282aa45c723e3b1271851afb695ea30e040802');
INSERT INTO public.audit_entries VALUES (17, '{"sequence":17,"time":"2026-11-25T04:33:58.937772Z","action":"unblock.start","outcome":"permit","client":"identity-manager","operator":"anna","delegation":"named by the client","address":"127.0.0.1","request_id":"02072057-f52b-4321-8f49-464f9b65fc8c","process":"355fd437-49c2-451a-884f-9567a62adbd5","card":"OLD-DONE","card_type":"tdes3","profile":"gids-tdes3","master_key":"master","key_version":1,"policies":["operator-with-reason"],"policy_version":"061d0cd364acda7d1b4547c7f65367dc","reason":"INC-20417, PIN forgotten","latency_us":1069}', '\xc880cab702789021f7273605acc232b44490bb4578ea4a7453ee9932420f8d19');
INSERT INTO public.audit_entries VALUES (18, '{"sequence":18,"time":"2026-11-25T04:33:58.940184Z","action":"unblock.cancel","outcome":"permit","client":"identity-manager","operator":"anna","delegation":"named by the client","address":"127.0.0.1","request_id":"14668691-d402-42dd-92df-09f485bd377e","process":"355fd437-49c2-451a-884f-9567a62adbd5","card":"OLD-DONE","reason":"INC-20417, PIN forgotten"}', '\x59a1248a8fdce8f88f675b50a7cafb7eaa166f57d9b016ea22a7d434ff5e51a4');
INSERT INTO public.audit_entries VALUES (19, '{"sequence":19,"time":"2026-11-25T04:33:58.946253Z","action":"unblock.respond","outcome":"permit","client":"anna","operator":"anna","delegation":"own certificate","address":"127.0.0.1","request_id":"7bf81888-99b5-40a4-8483-1c38b3f4fd82","process":"5edcef35-e88d-4db3-8dee-0a30572bc3ff","card":"OLD-AES","card_type":"aes256","profile":"gids-aes256","master_key":"master","key_version":1,"policies":["operator-with-reason"],"policy_version":"061d0cd364acda7d1b4547c7f65367dc","challenge":"91D302775B0C84EE6FA138C2D05B7E94","reason":"INC-20417, PIN forgotten","latency_us":1107}', '\x959ca514d9433e42ff56b08022442f42c44eea5eeb5a85add1bacb778b41d0d3');
INSERT INTO public.audit_entries VALUES (20, '{"sequence":20,"time":"2026-11-25T04:33:58.949585Z","action":"unblock.complete","outcome":"permit","client":"anna","operator":"anna","delegation":"own certificate","address":"127.0.0.1","request_id":"d49c2e3a-bd09-4337-8d8a-c64af2a22d40","process":"5edcef35-e88d-4db3-8dee-0a30572bc3ff","card":"OLD-AES","reason":"INC-20417, PIN forgotten","detail":"pin-changed"}', '\x4329355627f8275f010c33ad813bc8e76c14163b3ab491e1d1bc48ccf7f013fd');
INSERT INTO public.audit_entries VALUES (21, '{"sequence":21,"time":"2026-11-25T04:33:58.953319Z","action":"unblock.respond","outcome":"permit","client":"identity-manager","operator":"anna","delegation":"named by the client","address":"127.0.0.1","request_id":"dcee7e33-d201-40dc-9c10-9e0d6ee01ab4","process":"a59e1610-2a28-420d-aa48-1786469ac0e4","card":"OLD-COUNTED","card_type":"counted","profile":"counted","master_key":"master","key_version":1,"policies":["operator-with-reason"],"policy_version":"061d0cd364acda7d1b4547c7f65367dc","challenge":"1603EBDF1C8A2E01","reason":"INC-20417, PIN forgotten","latency_us":1378}', '\xc78c148027c8ce7bd2d574253deb6299f7b672263521627e220807f837ac9620');
INSERT INTO public.audit_entries VALUES (22, '{"sequence":22,"time":"2026-11-25T04:33:58.956504Z","action":"unblock.respond","outcome":"permit","client":"identity-manager","operator":"anna","delegation":"named by the client","address":"127.0.0.1","request_id":"3664cfc9-869a-4bee-abf9-9bc96b47fad3","process":"fc4a86d4-47ba-4272-baff-5225c1ab1878","card":"OLD-COUNTED","card_type":"counted","profile":"counted","master_key":"master","key_version":1,"policies":["operator-with-reason"],"policy_version":"061d0cd364acda7d1b4547c7f65367dc","challenge":"1603EBDF1C8A2E02","reason":"INC-20417, PIN forgotten","latency_us":939}', '\x63d86d03227e4af802094e117a5f476b516f79640fb2e2048a2b5aa7ed2b65df');
INSERT INTO public.audit_entries VALUES (23, '{"sequence":23,"time":"2026-11-25T04:33:58.959762Z","action":"unblock.respond","outcome":"permit","client":"identity-manager","operator":"anna","delegation":"named by the client","address":"127.0.0.1","request_id":"99937dfc-c226-46c2-9411-370ea931c06a","process":"26fc6e1f-5ffd-4308-a880-149d6470763f","card":"OLD-COUNTED","card_type":"counted","profile":"counted","master_key":"master","key_version":1,"policies":["operator-with-reason"],"policy_version":"061d0cd364acda7d1b4547c7f65367dc","challenge":"1603EBDF1C8A2E03","reason":"INC-20417, PIN forgotten","latency_us":1226}', '\x68381501ac44fba4c86167735aef35b49b6859d2666eb182f12e2d95f4f6e749');
INSERT INTO public.audit_entries VALUES (24, '{"sequence":24,"time":"2026-11-25T04:33:58.962374Z","action":"unblock.start","outcome":"permit","client":"identity-manager","operator":"anna","delegation":"named by the client","address":"127.0.0.1","request_id":"0d1207c1-df92-4997-b951-0aa467f979b9","process":"c18eed63-9b54-4cfc-ae22-ab4d7cf44156","card":"OLD-OPEN","card_type":"tdes3","profile":"gids-tdes3","master_key":"master","key_version":1,"policies":["operator-with-reason"],"policy_version":"061d0cd364acda7d1b4547c7f65367dc","reason":"INC-20417, PIN forgotten","latency_us":577}', '\x5aa4667d1a3643cd6fc84c65273dc65af4dc6423b2fec87ae608dbe694627c67');
INSERT INTO public.audit_entries VALUES (25, '{"sequence":25,"time":"2026-11-25T04:33:58.964574Z","action":"unblock.start","outcome":"deny","check":"card active","code":"card-not-active","client":"identity-manager","operator":"anna","delegation":"named by the client","address":"127.0.0.1","request_id":"cde13e34-4a4b-400c-97cd-726ebb590a7e","card":"OLD-REVOKED","card_type":"tdes3","reason":"INC-20417, PIN forgotten","detail":"The card is revoked. Only a card in use can be unblocked.","latency_us":459}', '\x69ce79b3451c5cf1dbb65c506d91abc143c6e9ccd0da15dd72fb48ed56553397');
INSERT INTO public.audit_entries VALUES (26, '{"sequence":26,"time":"2026-11-25T04:33:58.96636Z","action":"unblock.start","outcome":"deny","check":"policy permits","code":"policy-denied","client":"anna","operator":"anna","delegation":"own certificate","address":"127.0.0.1","request_id":"8eeb6377-85a4-4a0d-ae8f-cc1959138034","card":"OLD-OF-ANNA","card_type":"tdes3","profile":"gids-tdes3","master_key":"master","key_version":1,"policies":["not-own-card"],"policy_version":"061d0cd364acda7d1b4547c7f65367dc","reason":"INC-20417, PIN forgotten","detail":"Nobody unblocks their own card. Ask another operator.","latency_us":446}', '\x7703f7d3cab460dc7bee7e3846fda803eaab4c2a42a91ee35f1389fb59b0721e');
INSERT INTO public.audit_entries VALUES (27, '{"sequence":27,"time":"2026-11-25T04:33:58.970189Z","action":"key.propose","outcome":"permit","client":"olga","address":"127.0.0.1","request_id":"9872f121-ef50-4cd6-a08a-c61e20940a12","master_key":"master","key_version":1,"proposal":"81f10cd2-4ec3-4f9c-b52b-49bb360c8645","proposal_hash":"a656bafbd03e4bbc39526f4abb229ec0b4d96c6cbf2c60529ea9f8e306322b19","reason":"seen at a market","detail":"Suspend master key master version 1: none of its cards can be unblocked until it is resumed. Token f3052d4bcbe5ff4d."}', '\xaf35e7b3cb8c0329ecbc44c776fa4902cf824cbd170ee7d7fed9835a73fe6e45');
INSERT INTO public.audit_entries VALUES (28, '{"sequence":28,"time":"2026-11-25T04:33:58.970189Z","action":"key.execute","outcome":"permit","client":"olga","address":"127.0.0.1","request_id":"9872f121-ef50-4cd6-a08a-c61e20940a12","master_key":"master","key_version":1,"proposal":"81f10cd2-4ec3-4f9c-b52b-49bb360c8645","proposal_hash":"a656bafbd03e4bbc39526f4abb229ec0b4d96c6cbf2c60529ea9f8e306322b19","reason":"seen at a market","detail":"done by one officer, as may be"}', '\x0ce7e5d92d351ecfd1e81b0092bff7a19582ac3e52be1271b94fc03fca600ef2');
INSERT INTO public.audit_entries VALUES (29, '{"sequence":29,"time":"2026-11-25T04:33:58.974056Z","action":"key.propose","outcome":"permit","client":"olga","address":"127.0.0.1","request_id":"96e26239-69bb-4441-b3dc-36e2e6661d99","master_key":"master","key_version":1,"proposal":"77252654-5bd4-4ba0-bd64-36e97786ec1f","proposal_hash":"8cf07850e554d908fd7b7cde8e30b4d6b121ee4dd560703462c74e49f5e06ece","reason":"it was another","detail":"Resume master key master version 1, so that its cards can be unblocked again. Token f3052d4bcbe5ff4d."}', '\xa844d25cbb4fcc43ede50e9d5c2bf8f1fa11377afb2a1c3a14b343fd902d80b7');
INSERT INTO public.audit_entries VALUES (30, '{"sequence":30,"time":"2026-11-25T04:33:58.978959Z","action":"key.approve","outcome":"permit","client":"otto","address":"127.0.0.1","request_id":"a338b498-5611-421f-8dd7-ba89ada969db","master_key":"master","key_version":1,"proposal":"77252654-5bd4-4ba0-bd64-36e97786ec1f","proposal_hash":"8cf07850e554d908fd7b7cde8e30b4d6b121ee4dd560703462c74e49f5e06ece","reason":"it was another","detail":"Resume master key master version 1, so that its cards can be unblocked again. Token f3052d4bcbe5ff4d."}', '\x733274599a34e4ffaadf074f27fdba5ee17c80bc753831c2f74bc7cf45413c13');
INSERT INTO public.audit_entries VALUES (31, '{"sequence":31,"time":"2026-11-25T04:33:58.978959Z","action":"key.execute","outcome":"permit","client":"otto","address":"127.0.0.1","request_id":"a338b498-5611-421f-8dd7-ba89ada969db","master_key":"master","key_version":1,"proposal":"77252654-5bd4-4ba0-bd64-36e97786ec1f","proposal_hash":"8cf07850e554d908fd7b7cde8e30b4d6b121ee4dd560703462c74e49f5e06ece","reason":"it was another"}', '\xfdc15ce651bb1a1ab628dec972e575745a7da44f1ac31fd4da1920f52be74da7');
INSERT INTO public.audit_entries VALUES (32, '{"sequence":32,"time":"2026-11-25T04:33:58.983529Z","action":"key.propose","outcome":"permit","client":"olga","address":"127.0.0.1","request_id":"9f86d216-ec79-4515-b2f6-9a3f76284d83","master_key":"master","key_version":1,"proposal":"f0b42edd-fcd1-4291-a16d-fbd03355676b","proposal_hash":"86822a974cad3fcd7aaeed0fec9dee047da08dd3367f2f91b4d2971f881ac915","reason":"by mistake","detail":"Deactivate master key master version 1: it gets no new cards and goes on answering for its own. Token f3052d4bcbe5ff4d."}', '\xe7cd05b49527068783f2624b2ade4ed63ce22d5401f5a8f4bb1c2f1f639caa00');
INSERT INTO public.audit_entries VALUES (33, '{"sequence":33,"time":"2026-11-25T04:33:58.987755Z","action":"key.reject","outcome":"permit","client":"otto","address":"127.0.0.1","request_id":"5a21ab07-db1d-445a-a5fc-9a8c261079b4","master_key":"master","key_version":1,"proposal":"f0b42edd-fcd1-4291-a16d-fbd03355676b","proposal_hash":"86822a974cad3fcd7aaeed0fec9dee047da08dd3367f2f91b4d2971f881ac915","reason":"by mistake","detail":"Deactivate master key master version 1: it gets no new cards and goes on answering for its own. Token f3052d4bcbe5ff4d."}', '\xb2068caac47893973cc970d993cd54ef7afa7c2de8fa7057c80b4e9b9a965766');
INSERT INTO public.audit_entries VALUES (34, '{"sequence":34,"time":"2026-11-25T04:33:58.989265Z","action":"key.propose","outcome":"permit","client":"olga","address":"127.0.0.1","request_id":"412cb68e-3c70-4e40-902a-da88cb9f11a2","master_key":"master","key_version":1,"proposal":"a6ea80e4-76ec-438b-bf65-c9f7091c5428","proposal_hash":"8ee5eaa2f957bb0f8cfeed7e6db7a2435c5566b5f3900d821c58c421c71b9889","reason":"left open","detail":"Mark master key master version 1 as compromised: none of its cards can ever be unblocked again. Token f3052d4bcbe5ff4d."}', '\x45220d5f10291e5a033add2471821df064a1eb87569204a39ff637c7ad7d29ba');
INSERT INTO public.audit_entries VALUES (35, '{"sequence":35,"time":"2026-11-25T04:33:58.996011Z","action":"operator.put","outcome":"permit","client":"administrator","address":"127.0.0.1","request_id":"c53a9f4a-13e2-417d-921b-a0bfde690cc1","subject":"rita","detail":"active, operator, in desk-2"}', '\x4b67ebe4b2484571d2c2de975cd4ea86645a68c1c9c91bc8bbb514c07027efa8');
INSERT INTO public.audit_entries VALUES (36, '{"sequence":36,"time":"2026-11-25T04:33:59.004573Z","action":"card.put","outcome":"permit","client":"identity-manager","address":"127.0.0.1","request_id":"c131a577-aa7d-41e9-a11e-28a411f91cf6","card":"OLD-CHIEF","card_type":"tdes3","profile":"gids-tdes3","key_version":1,"detail":"card blocked, holder active"}', '\xf7de81b7eb172e1a1316d5dd2117e35db2f6981563e2d3cfa5bc8ddc3ef95291');
INSERT INTO public.audit_entries VALUES (37, '{"sequence":37,"time":"2026-11-25T04:33:59.015706Z","action":"card.put","outcome":"permit","client":"identity-manager","address":"127.0.0.1","request_id":"c0b32807-2664-428e-bdbd-9be8d272f568","card":"OLD-CHIEF-2","card_type":"tdes3","profile":"gids-tdes3","key_version":1,"detail":"card blocked, holder active"}', '\x8db9874bc1092fc735e7db2de1236bb4e442e591251d1fb7aebc761b14c89007');
INSERT INTO public.audit_entries VALUES (38, '{"sequence":38,"time":"2026-11-25T04:33:59.023809Z","action":"unblock.start","outcome":"permit","client":"identity-manager","operator":"rita","delegation":"named by the client","address":"127.0.0.1","request_id":"3dd276ae-fae7-4976-a12a-4815b062147a","process":"5142d09b-35fd-4088-9845-3e1d90eb76d6","card":"OLD-CHIEF","card_type":"tdes3","profile":"gids-tdes3","master_key":"master","key_version":1,"policies":["privileged-holder"],"policy_version":"061d0cd364acda7d1b4547c7f65367dc","reason":"INC-20417, PIN forgotten","ticket":"INC-1","verification":"call-back","detail":"waits for the approval of a supervisor","latency_us":1461}', '\xc609de3615101af9db2f8c4a01ef89ea97c8d62eb8058f20019eb14e2844c483');
INSERT INTO public.audit_entries VALUES (39, '{"sequence":39,"time":"2026-11-25T04:33:59.03118Z","action":"unblock.approve","outcome":"permit","client":"sven","operator":"sven","delegation":"own certificate","address":"127.0.0.1","request_id":"a73655f2-d478-4263-bdfc-cec57cf3e071","process":"5142d09b-35fd-4088-9845-3e1d90eb76d6","card":"OLD-CHIEF","reason":"INC-20417, PIN forgotten","ticket":"INC-1","verification":"call-back","detail":"asked for by operator rita, statement aede91c72ae03fc4019a48fdc6d8821874dfd2503d22246a2d295f1226114113: known to me"}', '\xa6cf3c7ecfbd551c9941dd53dcff01b23c504955d3a85a40c9d7a54f783a658f');
INSERT INTO public.audit_entries VALUES (40, '{"sequence":40,"time":"2026-11-25T04:33:59.034736Z","action":"unblock.respond","outcome":"permit","client":"identity-manager","operator":"rita","delegation":"named by the client","address":"127.0.0.1","request_id":"18aa393e-848a-4e1b-86ce-919ebc8a2391","process":"5142d09b-35fd-4088-9845-3e1d90eb76d6","card":"OLD-CHIEF","card_type":"tdes3","profile":"gids-tdes3","master_key":"master","key_version":1,"policies":["operator-with-reason"],"policy_version":"061d0cd364acda7d1b4547c7f65367dc","challenge":"1603EBDF1C8A2E88","reason":"INC-20417, PIN forgotten","ticket":"INC-1","verification":"call-back","approver":"sven","latency_us":1325}', '\xf1ebd468690cadb200def65e18f13f0d33c97243713df3bad293d44ee0a555ca');
INSERT INTO public.audit_entries VALUES (41, '{"sequence":41,"time":"2026-11-25T04:33:59.037724Z","action":"unblock.start","outcome":"permit","client":"identity-manager","operator":"anna","delegation":"named by the client","address":"127.0.0.1","request_id":"1aeac0de-9351-49a3-9eeb-569fb47371f4","process":"e5761840-3da5-4f18-8f8f-735b0b3cb2a3","card":"OLD-CHIEF-2","card_type":"tdes3","profile":"gids-tdes3","master_key":"master","key_version":1,"policies":["privileged-holder"],"policy_version":"061d0cd364acda7d1b4547c7f65367dc","reason":"INC-20417, PIN forgotten","detail":"waits for the approval of a supervisor","latency_us":695}', '\xa970c6b6faaa6ee12141ffbf0df1e8ae3dbb58d655644ce20e88ee1e479cfa55');
INSERT INTO public.audit_entries VALUES (42, '{"sequence":42,"time":"2026-11-25T04:33:59.042263Z","action":"policy.propose","outcome":"permit","client":"olga","address":"127.0.0.1","request_id":"6e719670-df15-409b-8ec6-3b4b0670609e","proposal":"0f10b9ce-b70f-4d0d-ab2e-56efa4320f97","proposal_hash":"b56f4e5574a6784c9104d5c9b21db2ad4f636a0cde4d47e54816a521abe599b9","policy_version":"79eb4cd631b9e09c88574947ca41c8e8","reason":"hours dropped","detail":"Decide by these operator policies in place of version 0: 1 file, fingerprint 79eb4cd631b9e09c88574947ca41c8e8."}', '\xd11ec84afb7a6b5d93132285088df5911ae4256e6ac58b0fe59dfd98c6f6f854');
INSERT INTO public.audit_entries VALUES (43, '{"sequence":43,"time":"2026-11-25T04:33:59.047495Z","action":"policy.approve","outcome":"permit","client":"otto","address":"127.0.0.1","request_id":"e02e49d5-792c-41f2-91a1-45367563e684","proposal":"0f10b9ce-b70f-4d0d-ab2e-56efa4320f97","proposal_hash":"b56f4e5574a6784c9104d5c9b21db2ad4f636a0cde4d47e54816a521abe599b9","policy_version":"79eb4cd631b9e09c88574947ca41c8e8","reason":"hours dropped","detail":"Decide by these operator policies in place of version 0: 1 file, fingerprint 79eb4cd631b9e09c88574947ca41c8e8."}', '\x6733909894d5b638c8fbac198ac3a5ccbfff6e5919816cf7ba994697531ad09e');
INSERT INTO public.audit_entries VALUES (44, '{"sequence":44,"time":"2026-11-25T04:33:59.047495Z","action":"policy.activate","outcome":"permit","client":"otto","address":"127.0.0.1","request_id":"e02e49d5-792c-41f2-91a1-45367563e684","proposal":"0f10b9ce-b70f-4d0d-ab2e-56efa4320f97","proposal_hash":"b56f4e5574a6784c9104d5c9b21db2ad4f636a0cde4d47e54816a521abe599b9","policy_version":"79eb4cd631b9e09c88574947ca41c8e8","reason":"hours dropped"}', '\xd79d72a45efb583dfde128eccd338c79d4aaac5fcf14eef243034a96f5c0b063');


--
-- Data for Name: audit_log; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.audit_log VALUES (1, 'latchkey/cfe74b83636a42e7ab0371301546615a', 0);


--
-- Data for Name: audit_nodes; Type: TABLE DATA; Schema: public; Owner: -
--



--
-- Data for Name: card_syncs; Type: TABLE DATA; Schema: public; Owner: -
--



--
-- Data for Name: card_types; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.card_types VALUES ('counted', 'Card that counts', 'counted', '{"blocked":true}', 'administrator', 1795581238845727);
INSERT INTO public.card_types VALUES ('tdes3', 'Employee card', 'gids-tdes3', '{"active":true,"blocked":true}', 'administrator', 1795581238859019);
INSERT INTO public.card_types VALUES ('aes256', 'Employee card', 'gids-aes256', '{"active":true,"blocked":true}', 'administrator', 1795581238872973);


--
-- Data for Name: card_words; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.card_words VALUES ('astrid', 'OLD-DONE');
INSERT INTO public.card_words VALUES ('berg', 'OLD-DONE');
INSERT INTO public.card_words VALUES ('done', 'OLD-DONE');
INSERT INTO public.card_words VALUES ('old-done', 'OLD-DONE');
INSERT INTO public.card_words VALUES ('u417', 'OLD-DONE');
INSERT INTO public.card_words VALUES ('7', 'OLD-AES');
INSERT INTO public.card_words VALUES ('aaberg', 'OLD-AES');
INSERT INTO public.card_words VALUES ('aberg', 'OLD-AES');
INSERT INTO public.card_words VALUES ('aes', 'OLD-AES');
INSERT INTO public.card_words VALUES ('old-aes', 'OLD-AES');
INSERT INTO public.card_words VALUES ('u9', 'OLD-AES');
INSERT INTO public.card_words VALUES ('zofie', 'OLD-AES');
INSERT INTO public.card_words VALUES ('zofie@example.org', 'OLD-AES');
INSERT INTO public.card_words VALUES ('astrid', 'OLD-COUNTED');
INSERT INTO public.card_words VALUES ('berg', 'OLD-COUNTED');
INSERT INTO public.card_words VALUES ('counted', 'OLD-COUNTED');
INSERT INTO public.card_words VALUES ('old-counted', 'OLD-COUNTED');
INSERT INTO public.card_words VALUES ('u417', 'OLD-COUNTED');
INSERT INTO public.card_words VALUES ('astrid', 'OLD-REVOKED');
INSERT INTO public.card_words VALUES ('berg', 'OLD-REVOKED');
INSERT INTO public.card_words VALUES ('old-revoked', 'OLD-REVOKED');
INSERT INTO public.card_words VALUES ('revoked', 'OLD-REVOKED');
INSERT INTO public.card_words VALUES ('u417', 'OLD-REVOKED');
INSERT INTO public.card_words VALUES ('anna', 'OLD-OF-ANNA');
INSERT INTO public.card_words VALUES ('astrid', 'OLD-OF-ANNA');
INSERT INTO public.card_words VALUES ('berg', 'OLD-OF-ANNA');
INSERT INTO public.card_words VALUES ('of-anna', 'OLD-OF-ANNA');
INSERT INTO public.card_words VALUES ('old-of-anna', 'OLD-OF-ANNA');
INSERT INTO public.card_words VALUES ('astrid', 'OLD-OPEN');
INSERT INTO public.card_words VALUES ('berg', 'OLD-OPEN');
INSERT INTO public.card_words VALUES ('old-open', 'OLD-OPEN');
INSERT INTO public.card_words VALUES ('open', 'OLD-OPEN');
INSERT INTO public.card_words VALUES ('u417', 'OLD-OPEN');
INSERT INTO public.card_words VALUES ('astrid', 'OLD-CHIEF');
INSERT INTO public.card_words VALUES ('berg', 'OLD-CHIEF');
INSERT INTO public.card_words VALUES ('chief', 'OLD-CHIEF');
INSERT INTO public.card_words VALUES ('old-chief', 'OLD-CHIEF');
INSERT INTO public.card_words VALUES ('u1', 'OLD-CHIEF');
INSERT INTO public.card_words VALUES ('2', 'OLD-CHIEF-2');
INSERT INTO public.card_words VALUES ('astrid', 'OLD-CHIEF-2');
INSERT INTO public.card_words VALUES ('berg', 'OLD-CHIEF-2');
INSERT INTO public.card_words VALUES ('chief-2', 'OLD-CHIEF-2');
INSERT INTO public.card_words VALUES ('old-chief-2', 'OLD-CHIEF-2');
INSERT INTO public.card_words VALUES ('u2', 'OLD-CHIEF-2');


--
-- Data for Name: card_words_made; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.card_words_made VALUES (1, '1, Unicode 15.0.0');


--
-- Data for Name: cards; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.cards VALUES ('OLD-DONE', 'tdes3', 'blocked', '\x', '\x', 1, 'u417', 'Astrid Berg', '', '', '', 'null', 'active', 1795581238865534, '\x', '', '', false, 'identity-manager', ' astrid berg done old-done u417');
INSERT INTO public.cards VALUES ('OLD-AES', 'aes256', 'blocked', '\x00112233', '\x00010203040506070809', 1, 'u9', 'Žofie Åberg', 'zofie@example.org', '7', 'R&D', '["staff","night"]', 'active', 1795581238876232, '\x', '', '', false, 'identity-manager', ' 7 aaberg aberg aes old-aes u9 zofie zofie@example.org');
INSERT INTO public.cards VALUES ('OLD-COUNTED', 'counted', 'blocked', '\x', '\x', 1, 'u417', 'Astrid Berg', '', '', '', 'null', 'active', 1795581238883586, '\x', '', '', false, 'identity-manager', ' astrid berg counted old-counted u417');
INSERT INTO public.cards VALUES ('OLD-REVOKED', 'tdes3', 'revoked', '\x', '\x', 1, 'u417', 'Astrid Berg', '', '', '', 'null', 'active', 1795581238892405, '\x', '', '', false, 'identity-manager', ' astrid berg old-revoked revoked u417');
INSERT INTO public.cards VALUES ('OLD-OF-ANNA', 'tdes3', 'blocked', '\x', '\x', 1, 'anna', 'Astrid Berg', '', '', '', 'null', 'active', 1795581238899322, '\x', '', '', false, 'identity-manager', ' anna astrid berg of-anna old-of-anna');
INSERT INTO public.cards VALUES ('OLD-OPEN', 'tdes3', 'blocked', '\x', '\x', 1, 'u417', 'Astrid Berg', '', '', '', 'null', 'active', 1795581238906936, '\x', '', '', false, 'identity-manager', ' astrid berg old-open open u417');
INSERT INTO public.cards VALUES ('OLD-CHIEF', 'tdes3', 'blocked', '\x', '\x', 1, 'u1', 'Astrid Berg', '', '', '', 'null', 'active', 1795581239004340, '\x', '', '', true, 'identity-manager', ' astrid berg chief old-chief u1');
INSERT INTO public.cards VALUES ('OLD-CHIEF-2', 'tdes3', 'blocked', '\x', '\x', 1, 'u2', 'Astrid Berg', '', '', '', 'null', 'active', 1795581239015390, '\x', '', '', true, 'identity-manager', ' 2 astrid berg chief-2 old-chief-2 u2');


--
-- Data for Name: current_versions; Type: TABLE DATA; Schema: public; Owner: -
--



--
-- Data for Name: cursor_key; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.cursor_key VALUES (1, '\x72c4b2e6b1c7353fe2bc5d8a06b6514c0c1944cd210ae850158b44d74166f397');


--
-- Data for Name: goose_db_version; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.goose_db_version VALUES (1, 0, true, '2026-11-25 04:33:58.598337');
INSERT INTO public.goose_db_version VALUES (2, 1, true, '2026-11-25 04:33:58.614308');
INSERT INTO public.goose_db_version VALUES (3, 2, true, '2026-11-25 04:33:58.649603');
INSERT INTO public.goose_db_version VALUES (4, 3, true, '2026-11-25 04:33:58.650593');
INSERT INTO public.goose_db_version VALUES (5, 4, true, '2026-11-25 04:33:58.668408');
INSERT INTO public.goose_db_version VALUES (6, 5, true, '2026-11-25 04:33:58.689105');
INSERT INTO public.goose_db_version VALUES (7, 6, true, '2026-11-25 04:33:58.702855');
INSERT INTO public.goose_db_version VALUES (8, 7, true, '2026-11-25 04:33:58.707565');
INSERT INTO public.goose_db_version VALUES (9, 8, true, '2026-11-25 04:33:58.713427');
INSERT INTO public.goose_db_version VALUES (10, 9, true, '2026-11-25 04:33:58.749792');
INSERT INTO public.goose_db_version VALUES (11, 10, true, '2026-11-25 04:33:58.775135');
INSERT INTO public.goose_db_version VALUES (12, 11, true, '2026-11-25 04:33:58.778605');


--
-- Data for Name: heartbeat; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.heartbeat VALUES (1, 1795581238833875);


--
-- Data for Name: key_records; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.key_records VALUES ('master', 1, 'active', 'aes256', 'derive', '[{"convention":"aes-cmac-zero","value":"377822"},{"convention":"aes-ecb-zero","value":"F29000"}]', '77252654-5bd4-4ba0-bd64-36e97786ec1f', 1795581238969973, 1795581238977841, 2);


--
-- Data for Name: limits; Type: TABLE DATA; Schema: public; Owner: -
--



--
-- Data for Name: operators; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.operators VALUES ('rita', 'Rita Moe', '["operator"]', '["desk-2"]', '', '', '', '', '', true, 'administrator', 1795581238996011);


--
-- Data for Name: policy_decisions; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.policy_decisions VALUES (11, 11, 1, '\x3d7f030101086465636973696f6e01ff80000103010853657175656e636501040001075265717565737401ff820001084465636973696f6e01ff96000000ffb4ff81030101075265717565737401ff8200010d01084f70657261746f7201ff840001054d65616e73010c000106436c69656e74010c0001074164647265737301ff8c0001034e6f7701ff8a0001044361726401ff8e0001045479706501ff92000106526561736f6e010c0001065469636b6574010c00010c566572696669636174696f6e010c00010b556e636f6e6669726d656401040001084f766572726964650102000108417070726f76657201ff840000007eff8303010106506572736f6e01ff8400010901024944010c0001044e616d65010c000105526f6c657301ff8600010647726f75707301ff88000104556e6974010c000105456d61696c010c00010e456d706c6f7965654e756d626572010c0001034d4641010200010f41757468656e74696361746564417401ff8a0000001dff850201010f5b5d6964656e746974792e526f6c6501ff8600010c000016ff87020101085b5d737472696e6701ff8800010c000010ff890501010454696d6501ff8a00000010ff8b060101044164647201ff8c000000ffa1ff8d030101044361726401ff8e00010c010653657269616c010c00010454797065010c0001055374617465010c00010443554944010a0001034b4444010a00010a577261707065644b6579010a0001104d61737465724b657956657273696f6e0104000104556e6974010c0001094173737572616e6365010c000106486f6c64657201ff90000106536f75726365010c00010853796e636564417401ff8a0000006fff8f03010106486f6c64657201ff9000010801024944010c0001044e616d65010c000105456d61696c010c00010e456d706c6f7965654e756d626572010c000104556e6974010c00010647726f75707301ff8800010a50726976696c6567656401020001055374617465010c0000005eff91030101045479706501ff9200010601024944010c0001044e616d65010c00010750726f66696c65010c00010d556e626c6f636b52656d6f746501ff94000109557064617465644279010c00010955706461746564417401ff8a0000001fff930401010f6d61705b737472696e675d626f6f6c01ff9400010c010200005aff95030101084465636973696f6e01ff960001060105416c6c6f770102000108506f6c696369657301ff88000103576879010c000108417070726f76616c010c000106436f756e7473010200010756657273696f6e010c000000fe0123ff80011601010104616e6e610109416e6e61204c696e640101086f70657261746f720001136e616d65642062792074686520636c69656e7401106964656e746974792d6d616e6167657201047f000001010f010000000ee2985c36365d42e800000101084f4c442d444f4e45010574646573330107626c6f636b6564040203010475343137010b417374726964204265726706066163746976650001106964656e746974792d6d616e61676572010f010000000ee2985c3633970030ffff000101057464657333010d456d706c6f7965652063617264010a676964732d7464657333020d61646d696e6973747261746f72010f010000000ee2985c36333396f8ffff000118494e432d32303431372c2050494e20666f72676f7474656e000101010000');
INSERT INTO public.policy_decisions VALUES (12, 12, 1, '\x3d7f030101086465636973696f6e01ff80000103010853657175656e636501040001075265717565737401ff820001084465636973696f6e01ff96000000ffb4ff81030101075265717565737401ff8200010d01084f70657261746f7201ff840001054d65616e73010c000106436c69656e74010c0001074164647265737301ff8c0001034e6f7701ff8a0001044361726401ff8e0001045479706501ff92000106526561736f6e010c0001065469636b6574010c00010c566572696669636174696f6e010c00010b556e636f6e6669726d656401040001084f766572726964650102000108417070726f76657201ff840000007eff8303010106506572736f6e01ff8400010901024944010c0001044e616d65010c000105526f6c657301ff8600010647726f75707301ff88000104556e6974010c000105456d61696c010c00010e456d706c6f7965654e756d626572010c0001034d4641010200010f41757468656e74696361746564417401ff8a0000001dff850201010f5b5d6964656e746974792e526f6c6501ff8600010c000016ff87020101085b5d737472696e6701ff8800010c000010ff890501010454696d6501ff8a00000010ff8b060101044164647201ff8c000000ffa1ff8d030101044361726401ff8e00010c010653657269616c010c00010454797065010c0001055374617465010c00010443554944010a0001034b4444010a00010a577261707065644b6579010a0001104d61737465724b657956657273696f6e0104000104556e6974010c0001094173737572616e6365010c000106486f6c64657201ff90000106536f75726365010c00010853796e636564417401ff8a0000006fff8f03010106486f6c64657201ff9000010801024944010c0001044e616d65010c000105456d61696c010c00010e456d706c6f7965654e756d626572010c000104556e6974010c00010647726f75707301ff8800010a50726976696c6567656401020001055374617465010c0000005eff91030101045479706501ff9200010601024944010c0001044e616d65010c00010750726f66696c65010c00010d556e626c6f636b52656d6f746501ff94000109557064617465644279010c00010955706461746564417401ff8a0000001fff930401010f6d61705b737472696e675d626f6f6c01ff9400010c010200005aff95030101084465636973696f6e01ff960001060105416c6c6f770102000108506f6c696369657301ff88000103576879010c000108417070726f76616c010c000106436f756e7473010200010756657273696f6e010c000000fe0123ff80011801010104616e6e610109416e6e61204c696e640101086f70657261746f720001136e616d65642062792074686520636c69656e7401106964656e746974792d6d616e6167657201047f000001010f010000000ee2985c3636c5231900000101084f4c442d444f4e45010574646573330107626c6f636b6564040203010475343137010b417374726964204265726706066163746976650001106964656e746974792d6d616e61676572010f010000000ee2985c3633970030ffff000101057464657333010d456d706c6f7965652063617264010a676964732d7464657333020d61646d696e6973747261746f72010f010000000ee2985c36333396f8ffff000118494e432d32303431372c2050494e20666f72676f7474656e000101010000');
INSERT INTO public.policy_decisions VALUES (14, 14, 1, '\x3d7f030101086465636973696f6e01ff80000103010853657175656e636501040001075265717565737401ff820001084465636973696f6e01ff96000000ffb4ff81030101075265717565737401ff8200010d01084f70657261746f7201ff840001054d65616e73010c000106436c69656e74010c0001074164647265737301ff8c0001034e6f7701ff8a0001044361726401ff8e0001045479706501ff92000106526561736f6e010c0001065469636b6574010c00010c566572696669636174696f6e010c00010b556e636f6e6669726d656401040001084f766572726964650102000108417070726f76657201ff840000007eff8303010106506572736f6e01ff8400010901024944010c0001044e616d65010c000105526f6c657301ff8600010647726f75707301ff88000104556e6974010c000105456d61696c010c00010e456d706c6f7965654e756d626572010c0001034d4641010200010f41757468656e74696361746564417401ff8a0000001dff850201010f5b5d6964656e746974792e526f6c6501ff8600010c000016ff87020101085b5d737472696e6701ff8800010c000010ff890501010454696d6501ff8a00000010ff8b060101044164647201ff8c000000ffa1ff8d030101044361726401ff8e00010c010653657269616c010c00010454797065010c0001055374617465010c00010443554944010a0001034b4444010a00010a577261707065644b6579010a0001104d61737465724b657956657273696f6e0104000104556e6974010c0001094173737572616e6365010c000106486f6c64657201ff90000106536f75726365010c00010853796e636564417401ff8a0000006fff8f03010106486f6c64657201ff9000010801024944010c0001044e616d65010c000105456d61696c010c00010e456d706c6f7965654e756d626572010c000104556e6974010c00010647726f75707301ff8800010a50726976696c6567656401020001055374617465010c0000005eff91030101045479706501ff9200010601024944010c0001044e616d65010c00010750726f66696c65010c00010d556e626c6f636b52656d6f746501ff94000109557064617465644279010c00010955706461746564417401ff8a0000001fff930401010f6d61705b737472696e675d626f6f6c01ff9400010c010200005aff95030101084465636973696f6e01ff960001060105416c6c6f770102000108506f6c696369657301ff88000103576879010c000108417070726f76616c010c000106436f756e7473010200010756657273696f6e010c000000fe0123ff80011c01010104616e6e610109416e6e61204c696e640101086f70657261746f720001136e616d65642062792074686520636c69656e7401106964656e746974792d6d616e6167657201047f000001010f010000000ee2985c36374f240800000101084f4c442d444f4e45010574646573330107626c6f636b6564040203010475343137010b417374726964204265726706066163746976650001106964656e746974792d6d616e61676572010f010000000ee2985c3633970030ffff000101057464657333010d456d706c6f7965652063617264010a676964732d7464657333020d61646d696e6973747261746f72010f010000000ee2985c36333396f8ffff000118494e432d32303431372c2050494e20666f72676f7474656e000101010000');
INSERT INTO public.policy_decisions VALUES (15, 15, 1, '\x3d7f030101086465636973696f6e01ff80000103010853657175656e636501040001075265717565737401ff820001084465636973696f6e01ff96000000ffb4ff81030101075265717565737401ff8200010d01084f70657261746f7201ff840001054d65616e73010c000106436c69656e74010c0001074164647265737301ff8c0001034e6f7701ff8a0001044361726401ff8e0001045479706501ff92000106526561736f6e010c0001065469636b6574010c00010c566572696669636174696f6e010c00010b556e636f6e6669726d656401040001084f766572726964650102000108417070726f76657201ff840000007eff8303010106506572736f6e01ff8400010901024944010c0001044e616d65010c000105526f6c657301ff8600010647726f75707301ff88000104556e6974010c000105456d61696c010c00010e456d706c6f7965654e756d626572010c0001034d4641010200010f41757468656e74696361746564417401ff8a0000001dff850201010f5b5d6964656e746974792e526f6c6501ff8600010c000016ff87020101085b5d737472696e6701ff8800010c000010ff890501010454696d6501ff8a00000010ff8b060101044164647201ff8c000000ffa1ff8d030101044361726401ff8e00010c010653657269616c010c00010454797065010c0001055374617465010c00010443554944010a0001034b4444010a00010a577261707065644b6579010a0001104d61737465724b657956657273696f6e0104000104556e6974010c0001094173737572616e6365010c000106486f6c64657201ff90000106536f75726365010c00010853796e636564417401ff8a0000006fff8f03010106486f6c64657201ff9000010801024944010c0001044e616d65010c000105456d61696c010c00010e456d706c6f7965654e756d626572010c000104556e6974010c00010647726f75707301ff8800010a50726976696c6567656401020001055374617465010c0000005eff91030101045479706501ff9200010601024944010c0001044e616d65010c00010750726f66696c65010c00010d556e626c6f636b52656d6f746501ff94000109557064617465644279010c00010955706461746564417401ff8a0000001fff930401010f6d61705b737472696e675d626f6f6c01ff9400010c010200005aff95030101084465636973696f6e01ff960001060105416c6c6f770102000108506f6c696369657301ff88000103576879010c000108417070726f76616c010c000106436f756e7473010200010756657273696f6e010c000000fe0123ff80011e01010104616e6e610109416e6e61204c696e640101086f70657261746f720001136e616d65642062792074686520636c69656e7401106964656e746974792d6d616e6167657201047f000001010f010000000ee2985c36377d407200000101084f4c442d444f4e45010574646573330107626c6f636b6564040203010475343137010b417374726964204265726706066163746976650001106964656e746974792d6d616e61676572010f010000000ee2985c3633970030ffff000101057464657333010d456d706c6f7965652063617264010a676964732d7464657333020d61646d696e6973747261746f72010f010000000ee2985c36333396f8ffff000118494e432d32303431372c2050494e20666f72676f7474656e000101010000');
INSERT INTO public.policy_decisions VALUES (17, 17, 1, '\x3d7f030101086465636973696f6e01ff80000103010853657175656e636501040001075265717565737401ff820001084465636973696f6e01ff96000000ffb4ff81030101075265717565737401ff8200010d01084f70657261746f7201ff840001054d65616e73010c000106436c69656e74010c0001074164647265737301ff8c0001034e6f7701ff8a0001044361726401ff8e0001045479706501ff92000106526561736f6e010c0001065469636b6574010c00010c566572696669636174696f6e010c00010b556e636f6e6669726d656401040001084f766572726964650102000108417070726f76657201ff840000007eff8303010106506572736f6e01ff8400010901024944010c0001044e616d65010c000105526f6c657301ff8600010647726f75707301ff88000104556e6974010c000105456d61696c010c00010e456d706c6f7965654e756d626572010c0001034d4641010200010f41757468656e74696361746564417401ff8a0000001dff850201010f5b5d6964656e746974792e526f6c6501ff8600010c000016ff87020101085b5d737472696e6701ff8800010c000010ff890501010454696d6501ff8a00000010ff8b060101044164647201ff8c000000ffa1ff8d030101044361726401ff8e00010c010653657269616c010c00010454797065010c0001055374617465010c00010443554944010a0001034b4444010a00010a577261707065644b6579010a0001104d61737465724b657956657273696f6e0104000104556e6974010c0001094173737572616e6365010c000106486f6c64657201ff90000106536f75726365010c00010853796e636564417401ff8a0000006fff8f03010106486f6c64657201ff9000010801024944010c0001044e616d65010c000105456d61696c010c00010e456d706c6f7965654e756d626572010c000104556e6974010c00010647726f75707301ff8800010a50726976696c6567656401020001055374617465010c0000005eff91030101045479706501ff9200010601024944010c0001044e616d65010c00010750726f66696c65010c00010d556e626c6f636b52656d6f746501ff94000109557064617465644279010c00010955706461746564417401ff8a0000001fff930401010f6d61705b737472696e675d626f6f6c01ff9400010c010200005aff95030101084465636973696f6e01ff960001060105416c6c6f770102000108506f6c696369657301ff88000103576879010c000108417070726f76616c010c000106436f756e7473010200010756657273696f6e010c000000fe0125ff80012201010104616e6e610109416e6e61204c696e640101086f70657261746f720001136e616d65642062792074686520636c69656e7401106964656e746974792d6d616e6167657201047f000001010f010000000ee2985c3637e242d100000101084f4c442d444f4e45010574646573330107626c6f636b6564040203010475343137010b417374726964204265726706066163746976650001106964656e746974792d6d616e61676572010f010000000ee2985c3633970030ffff000101057464657333010d456d706c6f7965652063617264010a676964732d7464657333020d61646d696e6973747261746f72010f010000000ee2985c36333396f8ffff000118494e432d32303431372c2050494e20666f72676f7474656e0302000101010000');
INSERT INTO public.policy_decisions VALUES (19, 19, 1, '\x3d7f030101086465636973696f6e01ff80000103010853657175656e636501040001075265717565737401ff820001084465636973696f6e01ff96000000ffb4ff81030101075265717565737401ff8200010d01084f70657261746f7201ff840001054d65616e73010c000106436c69656e74010c0001074164647265737301ff8c0001034e6f7701ff8a0001044361726401ff8e0001045479706501ff92000106526561736f6e010c0001065469636b6574010c00010c566572696669636174696f6e010c00010b556e636f6e6669726d656401040001084f766572726964650102000108417070726f76657201ff840000007eff8303010106506572736f6e01ff8400010901024944010c0001044e616d65010c000105526f6c657301ff8600010647726f75707301ff88000104556e6974010c000105456d61696c010c00010e456d706c6f7965654e756d626572010c0001034d4641010200010f41757468656e74696361746564417401ff8a0000001dff850201010f5b5d6964656e746974792e526f6c6501ff8600010c000016ff87020101085b5d737472696e6701ff8800010c000010ff890501010454696d6501ff8a00000010ff8b060101044164647201ff8c000000ffa1ff8d030101044361726401ff8e00010c010653657269616c010c00010454797065010c0001055374617465010c00010443554944010a0001034b4444010a00010a577261707065644b6579010a0001104d61737465724b657956657273696f6e0104000104556e6974010c0001094173737572616e6365010c000106486f6c64657201ff90000106536f75726365010c00010853796e636564417401ff8a0000006fff8f03010106486f6c64657201ff9000010801024944010c0001044e616d65010c000105456d61696c010c00010e456d706c6f7965654e756d626572010c000104556e6974010c00010647726f75707301ff8800010a50726976696c6567656401020001055374617465010c0000005eff91030101045479706501ff9200010601024944010c0001044e616d65010c00010750726f66696c65010c00010d556e626c6f636b52656d6f746501ff94000109557064617465644279010c00010955706461746564417401ff8a0000001fff930401010f6d61705b737472696e675d626f6f6c01ff9400010c010200005aff95030101084465636973696f6e01ff960001060105416c6c6f770102000108506f6c696369657301ff88000103576879010c000108417070726f76616c010c000106436f756e7473010200010756657273696f6e010c000000fe013eff80012601010104616e6e610109416e6e61204c696e640101086f70657261746f7200010f6f776e2063657274696669636174650104616e6e6101047f000001010f010000000ee2985c36385b730c00000101074f4c442d41455301066165733235360107626c6f636b656404020301027539010dc5bd6f66696520c3856265726701117a6f666965406578616d706c652e6f726701013701035226440102057374616666056e6967687402066163746976650001106964656e746974792d6d616e61676572010f010000000ee2985c36343a3d40ffff00010106616573323536010d456d706c6f7965652063617264010b676964732d616573323536020d61646d696e6973747261746f72010f010000000ee2985c36340882c8ffff000118494e432d32303431372c2050494e20666f72676f7474656e000101010000');
INSERT INTO public.policy_decisions VALUES (21, 21, 1, '\x3d7f030101086465636973696f6e01ff80000103010853657175656e636501040001075265717565737401ff820001084465636973696f6e01ff96000000ffb4ff81030101075265717565737401ff8200010d01084f70657261746f7201ff840001054d65616e73010c000106436c69656e74010c0001074164647265737301ff8c0001034e6f7701ff8a0001044361726401ff8e0001045479706501ff92000106526561736f6e010c0001065469636b6574010c00010c566572696669636174696f6e010c00010b556e636f6e6669726d656401040001084f766572726964650102000108417070726f76657201ff840000007eff8303010106506572736f6e01ff8400010901024944010c0001044e616d65010c000105526f6c657301ff8600010647726f75707301ff88000104556e6974010c000105456d61696c010c00010e456d706c6f7965654e756d626572010c0001034d4641010200010f41757468656e74696361746564417401ff8a0000001dff850201010f5b5d6964656e746974792e526f6c6501ff8600010c000016ff87020101085b5d737472696e6701ff8800010c000010ff890501010454696d6501ff8a00000010ff8b060101044164647201ff8c000000ffa1ff8d030101044361726401ff8e00010c010653657269616c010c00010454797065010c0001055374617465010c00010443554944010a0001034b4444010a00010a577261707065644b6579010a0001104d61737465724b657956657273696f6e0104000104556e6974010c0001094173737572616e6365010c000106486f6c64657201ff90000106536f75726365010c00010853796e636564417401ff8a0000006fff8f03010106486f6c64657201ff9000010801024944010c0001044e616d65010c000105456d61696c010c00010e456d706c6f7965654e756d626572010c000104556e6974010c00010647726f75707301ff8800010a50726976696c6567656401020001055374617465010c0000005eff91030101045479706501ff9200010601024944010c0001044e616d65010c00010750726f66696c65010c00010d556e626c6f636b52656d6f746501ff94000109557064617465644279010c00010955706461746564417401ff8a0000001fff930401010f6d61705b737472696e675d626f6f6c01ff9400010c010200005aff95030101084465636973696f6e01ff960001060105416c6c6f770102000108506f6c696369657301ff88000103576879010c000108417070726f76616c010c000106436f756e7473010200010756657273696f6e010c000000fe012aff80012a01010104616e6e610109416e6e61204c696e640101086f70657261746f720001136e616d65642062792074686520636c69656e7401106964656e746974792d6d616e6167657201047f000001010f010000000ee2985c3638c7454b000001010b4f4c442d434f554e5445440107636f756e7465640107626c6f636b6564040203010475343137010b417374726964204265726706066163746976650001106964656e746974792d6d616e61676572010f010000000ee2985c3634aa73d0ffff00010107636f756e746564011043617264207468617420636f756e74730107636f756e746564020d61646d696e6973747261746f72010f010000000ee2985c363268c518ffff000118494e432d32303431372c2050494e20666f72676f7474656e000101010000');
INSERT INTO public.policy_decisions VALUES (22, 22, 1, '\x3d7f030101086465636973696f6e01ff80000103010853657175656e636501040001075265717565737401ff820001084465636973696f6e01ff96000000ffb4ff81030101075265717565737401ff8200010d01084f70657261746f7201ff840001054d65616e73010c000106436c69656e74010c0001074164647265737301ff8c0001034e6f7701ff8a0001044361726401ff8e0001045479706501ff92000106526561736f6e010c0001065469636b6574010c00010c566572696669636174696f6e010c00010b556e636f6e6669726d656401040001084f766572726964650102000108417070726f76657201ff840000007eff8303010106506572736f6e01ff8400010901024944010c0001044e616d65010c000105526f6c657301ff8600010647726f75707301ff88000104556e6974010c000105456d61696c010c00010e456d706c6f7965654e756d626572010c0001034d4641010200010f41757468656e74696361746564417401ff8a0000001dff850201010f5b5d6964656e746974792e526f6c6501ff8600010c000016ff87020101085b5d737472696e6701ff8800010c000010ff890501010454696d6501ff8a00000010ff8b060101044164647201ff8c000000ffa1ff8d030101044361726401ff8e00010c010653657269616c010c00010454797065010c0001055374617465010c00010443554944010a0001034b4444010a00010a577261707065644b6579010a0001104d61737465724b657956657273696f6e0104000104556e6974010c0001094173737572616e6365010c000106486f6c64657201ff90000106536f75726365010c00010853796e636564417401ff8a0000006fff8f03010106486f6c64657201ff9000010801024944010c0001044e616d65010c000105456d61696c010c00010e456d706c6f7965654e756d626572010c000104556e6974010c00010647726f75707301ff8800010a50726976696c6567656401020001055374617465010c0000005eff91030101045479706501ff9200010601024944010c0001044e616d65010c00010750726f66696c65010c00010d556e626c6f636b52656d6f746501ff94000109557064617465644279010c00010955706461746564417401ff8a0000001fff930401010f6d61705b737472696e675d626f6f6c01ff9400010c010200005aff95030101084465636973696f6e01ff960001060105416c6c6f770102000108506f6c696369657301ff88000103576879010c000108417070726f76616c010c000106436f756e7473010200010756657273696f6e010c000000fe012cff80012c01010104616e6e610109416e6e61204c696e640101086f70657261746f720001136e616d65642062792074686520636c69656e7401106964656e746974792d6d616e6167657201047f000001010f010000000ee2985c3638fbb234000001010b4f4c442d434f554e5445440107636f756e7465640107626c6f636b6564040203010475343137010b417374726964204265726706066163746976650001106964656e746974792d6d616e61676572010f010000000ee2985c3634aa73d0ffff00010107636f756e746564011043617264207468617420636f756e74730107636f756e746564020d61646d696e6973747261746f72010f010000000ee2985c363268c518ffff000118494e432d32303431372c2050494e20666f72676f7474656e0302000101010000');
INSERT INTO public.policy_decisions VALUES (23, 23, 1, '\x3d7f030101086465636973696f6e01ff80000103010853657175656e636501040001075265717565737401ff820001084465636973696f6e01ff96000000ffb4ff81030101075265717565737401ff8200010d01084f70657261746f7201ff840001054d65616e73010c000106436c69656e74010c0001074164647265737301ff8c0001034e6f7701ff8a0001044361726401ff8e0001045479706501ff92000106526561736f6e010c0001065469636b6574010c00010c566572696669636174696f6e010c00010b556e636f6e6669726d656401040001084f766572726964650102000108417070726f76657201ff840000007eff8303010106506572736f6e01ff8400010901024944010c0001044e616d65010c000105526f6c657301ff8600010647726f75707301ff88000104556e6974010c000105456d61696c010c00010e456d706c6f7965654e756d626572010c0001034d4641010200010f41757468656e74696361746564417401ff8a0000001dff850201010f5b5d6964656e746974792e526f6c6501ff8600010c000016ff87020101085b5d737472696e6701ff8800010c000010ff890501010454696d6501ff8a00000010ff8b060101044164647201ff8c000000ffa1ff8d030101044361726401ff8e00010c010653657269616c010c00010454797065010c0001055374617465010c00010443554944010a0001034b4444010a00010a577261707065644b6579010a0001104d61737465724b657956657273696f6e0104000104556e6974010c0001094173737572616e6365010c000106486f6c64657201ff90000106536f75726365010c00010853796e636564417401ff8a0000006fff8f03010106486f6c64657201ff9000010801024944010c0001044e616d65010c000105456d61696c010c00010e456d706c6f7965654e756d626572010c000104556e6974010c00010647726f75707301ff8800010a50726976696c6567656401020001055374617465010c0000005eff91030101045479706501ff9200010601024944010c0001044e616d65010c00010750726f66696c65010c00010d556e626c6f636b52656d6f746501ff94000109557064617465644279010c00010955706461746564417401ff8a0000001fff930401010f6d61705b737472696e675d626f6f6c01ff9400010c010200005aff95030101084465636973696f6e01ff960001060105416c6c6f770102000108506f6c696369657301ff88000103576879010c000108417070726f76616c010c000106436f756e7473010200010756657273696f6e010c000000fe012cff80012e01010104616e6e610109416e6e61204c696e640101086f70657261746f720001136e616d65642062792074686520636c69656e7401106964656e746974792d6d616e6167657201047f000001010f010000000ee2985c36392c2442000001010b4f4c442d434f554e5445440107636f756e7465640107626c6f636b6564040203010475343137010b417374726964204265726706066163746976650001106964656e746974792d6d616e61676572010f010000000ee2985c3634aa73d0ffff00010107636f756e746564011043617264207468617420636f756e74730107636f756e746564020d61646d696e6973747261746f72010f010000000ee2985c363268c518ffff000118494e432d32303431372c2050494e20666f72676f7474656e0304000101010000');
INSERT INTO public.policy_decisions VALUES (24, 24, 1, '\x3d7f030101086465636973696f6e01ff80000103010853657175656e636501040001075265717565737401ff820001084465636973696f6e01ff96000000ffb4ff81030101075265717565737401ff8200010d01084f70657261746f7201ff840001054d65616e73010c000106436c69656e74010c0001074164647265737301ff8c0001034e6f7701ff8a0001044361726401ff8e0001045479706501ff92000106526561736f6e010c0001065469636b6574010c00010c566572696669636174696f6e010c00010b556e636f6e6669726d656401040001084f766572726964650102000108417070726f76657201ff840000007eff8303010106506572736f6e01ff8400010901024944010c0001044e616d65010c000105526f6c657301ff8600010647726f75707301ff88000104556e6974010c000105456d61696c010c00010e456d706c6f7965654e756d626572010c0001034d4641010200010f41757468656e74696361746564417401ff8a0000001dff850201010f5b5d6964656e746974792e526f6c6501ff8600010c000016ff87020101085b5d737472696e6701ff8800010c000010ff890501010454696d6501ff8a00000010ff8b060101044164647201ff8c000000ffa1ff8d030101044361726401ff8e00010c010653657269616c010c00010454797065010c0001055374617465010c00010443554944010a0001034b4444010a00010a577261707065644b6579010a0001104d61737465724b657956657273696f6e0104000104556e6974010c0001094173737572616e6365010c000106486f6c64657201ff90000106536f75726365010c00010853796e636564417401ff8a0000006fff8f03010106486f6c64657201ff9000010801024944010c0001044e616d65010c000105456d61696c010c00010e456d706c6f7965654e756d626572010c000104556e6974010c00010647726f75707301ff8800010a50726976696c6567656401020001055374617465010c0000005eff91030101045479706501ff9200010601024944010c0001044e616d65010c00010750726f66696c65010c00010d556e626c6f636b52656d6f746501ff94000109557064617465644279010c00010955706461746564417401ff8a0000001fff930401010f6d61705b737472696e675d626f6f6c01ff9400010c010200005aff95030101084465636973696f6e01ff960001060105416c6c6f770102000108506f6c696369657301ff88000103576879010c000108417070726f76616c010c000106436f756e7473010200010756657273696f6e010c000000fe0123ff80013001010104616e6e610109416e6e61204c696e640101086f70657261746f720001136e616d65642062792074686520636c69656e7401106964656e746974792d6d616e6167657201047f000001010f010000000ee2985c36395af25b00000101084f4c442d4f50454e010574646573330107626c6f636b6564040203010475343137010b417374726964204265726706066163746976650001106964656e746974792d6d616e61676572010f010000000ee2985c36360ebec0ffff000101057464657333010d456d706c6f7965652063617264010a676964732d7464657333020d61646d696e6973747261746f72010f010000000ee2985c36333396f8ffff000118494e432d32303431372c2050494e20666f72676f7474656e000101010000');
INSERT INTO public.policy_decisions VALUES (26, 26, 1, '\x3d7f030101086465636973696f6e01ff80000103010853657175656e636501040001075265717565737401ff820001084465636973696f6e01ff96000000ffb4ff81030101075265717565737401ff8200010d01084f70657261746f7201ff840001054d65616e73010c000106436c69656e74010c0001074164647265737301ff8c0001034e6f7701ff8a0001044361726401ff8e0001045479706501ff92000106526561736f6e010c0001065469636b6574010c00010c566572696669636174696f6e010c00010b556e636f6e6669726d656401040001084f766572726964650102000108417070726f76657201ff840000007eff8303010106506572736f6e01ff8400010901024944010c0001044e616d65010c000105526f6c657301ff8600010647726f75707301ff88000104556e6974010c000105456d61696c010c00010e456d706c6f7965654e756d626572010c0001034d4641010200010f41757468656e74696361746564417401ff8a0000001dff850201010f5b5d6964656e746974792e526f6c6501ff8600010c000016ff87020101085b5d737472696e6701ff8800010c000010ff890501010454696d6501ff8a00000010ff8b060101044164647201ff8c000000ffa1ff8d030101044361726401ff8e00010c010653657269616c010c00010454797065010c0001055374617465010c00010443554944010a0001034b4444010a00010a577261707065644b6579010a0001104d61737465724b657956657273696f6e0104000104556e6974010c0001094173737572616e6365010c000106486f6c64657201ff90000106536f75726365010c00010853796e636564417401ff8a0000006fff8f03010106486f6c64657201ff9000010801024944010c0001044e616d65010c000105456d61696c010c00010e456d706c6f7965654e756d626572010c000104556e6974010c00010647726f75707301ff8800010a50726976696c6567656401020001055374617465010c0000005eff91030101045479706501ff9200010601024944010c0001044e616d65010c00010750726f66696c65010c00010d556e626c6f636b52656d6f746501ff94000109557064617465644279010c00010955706461746564417401ff8a0000001fff930401010f6d61705b737472696e675d626f6f6c01ff9400010c010200005aff95030101084465636973696f6e01ff960001060105416c6c6f770102000108506f6c696369657301ff88000103576879010c000108417070726f76616c010c000106436f756e7473010200010756657273696f6e010c000000fe0114ff80013401010104616e6e610109416e6e61204c696e640101086f70657261746f7200010f6f776e2063657274696669636174650104616e6e6101047f000001010f010000000ee2985c363999360a000001010b4f4c442d4f462d414e4e41010574646573330107626c6f636b65640402030104616e6e61010b417374726964204265726706066163746976650001106964656e746974792d6d616e61676572010f010000000ee2985c36359a9090ffff000101057464657333010d456d706c6f7965652063617264010a676964732d7464657333020d61646d696e6973747261746f72010f010000000ee2985c36333396f8ffff000118494e432d32303431372c2050494e20666f72676f7474656e00010000');
INSERT INTO public.policy_decisions VALUES (38, 38, 1, '\x3d7f030101086465636973696f6e01ff80000103010853657175656e636501040001075265717565737401ff820001084465636973696f6e01ff96000000ffb4ff81030101075265717565737401ff8200010d01084f70657261746f7201ff840001054d65616e73010c000106436c69656e74010c0001074164647265737301ff8c0001034e6f7701ff8a0001044361726401ff8e0001045479706501ff92000106526561736f6e010c0001065469636b6574010c00010c566572696669636174696f6e010c00010b556e636f6e6669726d656401040001084f766572726964650102000108417070726f76657201ff840000007eff8303010106506572736f6e01ff8400010901024944010c0001044e616d65010c000105526f6c657301ff8600010647726f75707301ff88000104556e6974010c000105456d61696c010c00010e456d706c6f7965654e756d626572010c0001034d4641010200010f41757468656e74696361746564417401ff8a0000001dff850201010f5b5d6964656e746974792e526f6c6501ff8600010c000016ff87020101085b5d737472696e6701ff8800010c000010ff890501010454696d6501ff8a00000010ff8b060101044164647201ff8c000000ffa1ff8d030101044361726401ff8e00010c010653657269616c010c00010454797065010c0001055374617465010c00010443554944010a0001034b4444010a00010a577261707065644b6579010a0001104d61737465724b657956657273696f6e0104000104556e6974010c0001094173737572616e6365010c000106486f6c64657201ff90000106536f75726365010c00010853796e636564417401ff8a0000006fff8f03010106486f6c64657201ff9000010801024944010c0001044e616d65010c000105456d61696c010c00010e456d706c6f7965654e756d626572010c000104556e6974010c00010647726f75707301ff8800010a50726976696c6567656401020001055374617465010c0000005eff91030101045479706501ff9200010601024944010c0001044e616d65010c00010750726f66696c65010c00010d556e626c6f636b52656d6f746501ff94000109557064617465644279010c00010955706461746564417401ff8a0000001fff930401010f6d61705b737472696e675d626f6f6c01ff9400010c010200005aff95030101084465636973696f6e01ff960001060105416c6c6f770102000108506f6c696369657301ff88000103576879010c000108417070726f76616c010c000106436f756e7473010200010756657273696f6e010c000000fe0148ff80014c0101010472697461010852697461204d6f650101086f70657261746f720101066465736b2d320001136e616d65642062792074686520636c69656e7401106964656e746974792d6d616e6167657201047f000001010f010000000ee2985c370167b97800000101094f4c442d4348494546010574646573330107626c6f636b656404020301027531010b4173747269642042657267050101066163746976650001106964656e746974792d6d616e61676572010f010000000ee2985c3700423920ffff000101057464657333010d456d706c6f7965652063617264010a676964732d7464657333020d61646d696e6973747261746f72010f010000000ee2985c36333396f8ffff000118494e432d32303431372c2050494e20666f72676f7474656e0105494e432d31010963616c6c2d6261636b0001040a73757065727669736f720000');
INSERT INTO public.policy_decisions VALUES (40, 40, 1, '\x3d7f030101086465636973696f6e01ff80000103010853657175656e636501040001075265717565737401ff820001084465636973696f6e01ff96000000ffb4ff81030101075265717565737401ff8200010d01084f70657261746f7201ff840001054d65616e73010c000106436c69656e74010c0001074164647265737301ff8c0001034e6f7701ff8a0001044361726401ff8e0001045479706501ff92000106526561736f6e010c0001065469636b6574010c00010c566572696669636174696f6e010c00010b556e636f6e6669726d656401040001084f766572726964650102000108417070726f76657201ff840000007eff8303010106506572736f6e01ff8400010901024944010c0001044e616d65010c000105526f6c657301ff8600010647726f75707301ff88000104556e6974010c000105456d61696c010c00010e456d706c6f7965654e756d626572010c0001034d4641010200010f41757468656e74696361746564417401ff8a0000001dff850201010f5b5d6964656e746974792e526f6c6501ff8600010c000016ff87020101085b5d737472696e6701ff8800010c000010ff890501010454696d6501ff8a00000010ff8b060101044164647201ff8c000000ffa1ff8d030101044361726401ff8e00010c010653657269616c010c00010454797065010c0001055374617465010c00010443554944010a0001034b4444010a00010a577261707065644b6579010a0001104d61737465724b657956657273696f6e0104000104556e6974010c0001094173737572616e6365010c000106486f6c64657201ff90000106536f75726365010c00010853796e636564417401ff8a0000006fff8f03010106486f6c64657201ff9000010801024944010c0001044e616d65010c000105456d61696c010c00010e456d706c6f7965654e756d626572010c000104556e6974010c00010647726f75707301ff8800010a50726976696c6567656401020001055374617465010c0000005eff91030101045479706501ff9200010601024944010c0001044e616d65010c00010750726f66696c65010c00010d556e626c6f636b52656d6f746501ff94000109557064617465644279010c00010955706461746564417401ff8a0000001fff930401010f6d61705b737472696e675d626f6f6c01ff9400010c010200005aff95030101084465636973696f6e01ff960001060105416c6c6f770102000108506f6c696369657301ff88000103576879010c000108417070726f76616c010c000106436f756e7473010200010756657273696f6e010c000000fe015eff8001500101010472697461010852697461204d6f650101086f70657261746f720101066465736b2d320001136e616d65642062792074686520636c69656e7401106964656e746974792d6d616e6167657201047f000001010f010000000ee2985c370206c15800000101094f4c442d4348494546010574646573330107626c6f636b656404020301027531010b4173747269642042657267050101066163746976650001106964656e746974792d6d616e61676572010f010000000ee2985c3700423920ffff000101057464657333010d456d706c6f7965652063617264010a676964732d7464657333020d61646d696e6973747261746f72010f010000000ee2985c36333396f8ffff000118494e432d32303431372c2050494e20666f72676f7474656e0105494e432d31010963616c6c2d6261636b0301047376656e01095376656e20486f6c6d01010a73757065727669736f7200000101010000');
INSERT INTO public.policy_decisions VALUES (41, 41, 1, '\x3d7f030101086465636973696f6e01ff80000103010853657175656e636501040001075265717565737401ff820001084465636973696f6e01ff96000000ffb4ff81030101075265717565737401ff8200010d01084f70657261746f7201ff840001054d65616e73010c000106436c69656e74010c0001074164647265737301ff8c0001034e6f7701ff8a0001044361726401ff8e0001045479706501ff92000106526561736f6e010c0001065469636b6574010c00010c566572696669636174696f6e010c00010b556e636f6e6669726d656401040001084f766572726964650102000108417070726f76657201ff840000007eff8303010106506572736f6e01ff8400010901024944010c0001044e616d65010c000105526f6c657301ff8600010647726f75707301ff88000104556e6974010c000105456d61696c010c00010e456d706c6f7965654e756d626572010c0001034d4641010200010f41757468656e74696361746564417401ff8a0000001dff850201010f5b5d6964656e746974792e526f6c6501ff8600010c000016ff87020101085b5d737472696e6701ff8800010c000010ff890501010454696d6501ff8a00000010ff8b060101044164647201ff8c000000ffa1ff8d030101044361726401ff8e00010c010653657269616c010c00010454797065010c0001055374617465010c00010443554944010a0001034b4444010a00010a577261707065644b6579010a0001104d61737465724b657956657273696f6e0104000104556e6974010c0001094173737572616e6365010c000106486f6c64657201ff90000106536f75726365010c00010853796e636564417401ff8a0000006fff8f03010106486f6c64657201ff9000010801024944010c0001044e616d65010c000105456d61696c010c00010e456d706c6f7965654e756d626572010c000104556e6974010c00010647726f75707301ff8800010a50726976696c6567656401020001055374617465010c0000005eff91030101045479706501ff9200010601024944010c0001044e616d65010c00010750726f66696c65010c00010d556e626c6f636b52656d6f746501ff94000109557064617465644279010c00010955706461746564417401ff8a0000001fff930401010f6d61705b737472696e675d626f6f6c01ff9400010c010200005aff95030101084465636973696f6e01ff960001060105416c6c6f770102000108506f6c696369657301ff88000103576879010c000108417070726f76616c010c000106436f756e7473010200010756657273696f6e010c000000fe0130ff80015201010104616e6e610109416e6e61204c696e640101086f70657261746f720001136e616d65642062792074686520636c69656e7401106964656e746974792d6d616e6167657201047f000001010f010000000ee2985c37023ceaf0000001010b4f4c442d43484945462d32010574646573330107626c6f636b656404020301027532010b4173747269642042657267050101066163746976650001106964656e746974792d6d616e61676572010f010000000ee2985c3700ead530ffff000101057464657333010d456d706c6f7965652063617264010a676964732d7464657333020d61646d696e6973747261746f72010f010000000ee2985c36333396f8ffff000118494e432d32303431372c2050494e20666f72676f7474656e0001040a73757065727669736f720000');


--
-- Data for Name: policy_versions; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.policy_versions VALUES (1, '79eb4cd631b9e09c88574947ca41c8e8', '0f10b9ce-b70f-4d0d-ab2e-56efa4320f97', 1795581239046742);


--
-- Data for Name: process_moves; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.process_moves VALUES ('', 'waiting');
INSERT INTO public.process_moves VALUES ('', 'started');
INSERT INTO public.process_moves VALUES ('', 'answered');
INSERT INTO public.process_moves VALUES ('waiting', 'started');
INSERT INTO public.process_moves VALUES ('waiting', 'refused');
INSERT INTO public.process_moves VALUES ('waiting', 'cancelled');
INSERT INTO public.process_moves VALUES ('waiting', 'expired');
INSERT INTO public.process_moves VALUES ('started', 'answered');
INSERT INTO public.process_moves VALUES ('started', 'cancelled');
INSERT INTO public.process_moves VALUES ('started', 'expired');
INSERT INTO public.process_moves VALUES ('answered', 'completed');
INSERT INTO public.process_moves VALUES ('answered', 'failed');
INSERT INTO public.process_moves VALUES ('answered', 'cancelled');


--
-- Data for Name: processes; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.processes VALUES ('0d844a7d-dc46-4311-86d8-115d20b5b27f', 'completed', 'pin-changed', 'OLD-DONE', 'identity-manager', 'anna', 'INC-20417, PIN forgotten', 1795581238912224, 1795582138912224, 1795581238919925, 1795581238924274, 1, 3, 'named by the client', '', '', '', '', '', '', '', NULL, '1603EBDF1C8A2E72', NULL, NULL, NULL, NULL);
INSERT INTO public.processes VALUES ('9b0e42ae-baba-493d-92a1-52b4dca8c0ca', 'failed', 'failed', 'OLD-DONE', 'identity-manager', 'anna', 'INC-20417, PIN forgotten', 1795581238928107, 1795582138928107, 1795581238931649, 1795581238934742, 2, 3, 'named by the client', '', '', '', '', '', '', '', NULL, '1603EBDF1C8A2E73', NULL, NULL, NULL, NULL);
INSERT INTO public.processes VALUES ('355fd437-49c2-451a-884f-9567a62adbd5', 'cancelled', '', 'OLD-DONE', 'identity-manager', 'anna', 'INC-20417, PIN forgotten', 1795581238937772, 1795582138937772, NULL, 1795581238940184, NULL, 2, 'named by the client', '', '', '', '', '', '', '', NULL, '', NULL, NULL, NULL, NULL);
INSERT INTO public.processes VALUES ('5edcef35-e88d-4db3-8dee-0a30572bc3ff', 'completed', 'pin-changed', 'OLD-AES', 'anna', 'anna', 'INC-20417, PIN forgotten', 1795581238946253, 1795582138946253, 1795581238946253, 1795581238949585, 1, 2, 'own certificate', '', '', '', '', '', '', '', NULL, '91D302775B0C84EE6FA138C2D05B7E94', NULL, NULL, NULL, NULL);
INSERT INTO public.processes VALUES ('a59e1610-2a28-420d-aa48-1786469ac0e4', 'answered', '', 'OLD-COUNTED', 'identity-manager', 'anna', 'INC-20417, PIN forgotten', 1795581238953319, 1795582138953319, 1795581238953319, NULL, 1, 1, 'named by the client', '', '', '', '', '', '', '', NULL, '1603EBDF1C8A2E01', NULL, NULL, NULL, NULL);
INSERT INTO public.processes VALUES ('fc4a86d4-47ba-4272-baff-5225c1ab1878', 'answered', '', 'OLD-COUNTED', 'identity-manager', 'anna', 'INC-20417, PIN forgotten', 1795581238956504, 1795582138956504, 1795581238956504, NULL, 2, 1, 'named by the client', '', '', '', '', '', '', '', NULL, '1603EBDF1C8A2E02', NULL, NULL, NULL, NULL);
INSERT INTO public.processes VALUES ('26fc6e1f-5ffd-4308-a880-149d6470763f', 'answered', '', 'OLD-COUNTED', 'identity-manager', 'anna', 'INC-20417, PIN forgotten', 1795581238959762, 1795582138959762, 1795581238959762, NULL, 3, 1, 'named by the client', '', '', '', '', '', '', '', NULL, '1603EBDF1C8A2E03', NULL, NULL, NULL, NULL);
INSERT INTO public.processes VALUES ('c18eed63-9b54-4cfc-ae22-ab4d7cf44156', 'started', '', 'OLD-OPEN', 'identity-manager', 'anna', 'INC-20417, PIN forgotten', 1795581238962374, 1795582138962374, NULL, NULL, NULL, 1, 'named by the client', '', '', '', '', '', '', '', NULL, '', NULL, NULL, NULL, NULL);
INSERT INTO public.processes VALUES ('5142d09b-35fd-4088-9845-3e1d90eb76d6', 'answered', '', 'OLD-CHIEF', 'identity-manager', 'rita', 'INC-20417, PIN forgotten', 1795581239023809, 1795582139031591, 1795581239034736, NULL, 1, 3, 'named by the client', 'INC-1', 'call-back', '', 'supervisor', '{"ID":"sven","Name":"Sven Holm","Roles":["supervisor"],"Groups":null,"Unit":"","Email":"","EmployeeNumber":"","MFA":false,"AuthenticatedAt":"0001-01-01T00:00:00Z"}', 'known to me', 'aede91c72ae03fc4019a48fdc6d8821874dfd2503d22246a2d295f1226114113', 1795581239031180, '1603EBDF1C8A2E88', NULL, NULL, NULL, NULL);
INSERT INTO public.processes VALUES ('e5761840-3da5-4f18-8f8f-735b0b3cb2a3', 'waiting', '', 'OLD-CHIEF-2', 'identity-manager', 'anna', 'INC-20417, PIN forgotten', 1795581239037724, 1795581839037724, NULL, NULL, NULL, 1, 'named by the client', '', '', '', 'supervisor', '', '', '', NULL, '', NULL, NULL, NULL, NULL);


--
-- Data for Name: proposals; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.proposals VALUES ('81f10cd2-4ec3-4f9c-b52b-49bb360c8645', '{"act":"suspend","approvals":0,"created_at":"2026-11-25T04:33:58.969973Z","expires_at":"2026-11-26T04:33:58.969973Z","id":"81f10cd2-4ec3-4f9c-b52b-49bb360c8645","parameters":{"key":"master","reason":"seen at a market","version":1},"proposer":"olga","token":"f3052d4bcbe5ff4d"}', 1795581238969973, 1795667638969973, 'executed', '', '', 1795581238969973, '{}', 1, 'key');
INSERT INTO public.proposals VALUES ('77252654-5bd4-4ba0-bd64-36e97786ec1f', '{"act":"resume","approvals":1,"created_at":"2026-11-25T04:33:58.974042Z","expires_at":"2026-11-26T04:33:58.974042Z","id":"77252654-5bd4-4ba0-bd64-36e97786ec1f","parameters":{"key":"master","reason":"it was another","version":1},"proposer":"olga","token":"f3052d4bcbe5ff4d"}', 1795581238974042, 1795667638974042, 'executed', '', '', 1795581238977841, '{}', 2, 'key');
INSERT INTO public.proposals VALUES ('f0b42edd-fcd1-4291-a16d-fbd03355676b', '{"act":"deactivate","approvals":1,"created_at":"2026-11-25T04:33:58.983489Z","expires_at":"2026-11-26T04:33:58.983489Z","id":"f0b42edd-fcd1-4291-a16d-fbd03355676b","parameters":{"key":"master","reason":"by mistake","version":1},"proposer":"olga","token":"f3052d4bcbe5ff4d"}', 1795581238983489, 1795667638983489, 'rejected', 'otto', 'by mistake', 1795581238987379, '{}', 2, 'key');
INSERT INTO public.proposals VALUES ('a6ea80e4-76ec-438b-bf65-c9f7091c5428', '{"act":"mark-compromised","approvals":1,"created_at":"2026-11-25T04:33:58.989224Z","expires_at":"2026-11-26T04:33:58.989224Z","id":"a6ea80e4-76ec-438b-bf65-c9f7091c5428","parameters":{"key":"master","reason":"left open","version":1},"proposer":"olga","token":"f3052d4bcbe5ff4d"}', 1795581238989224, 1795667638989224, 'open', '', '', NULL, '{}', 1, 'key');
INSERT INTO public.proposals VALUES ('0f10b9ce-b70f-4d0d-ab2e-56efa4320f97', '{"approvals":1,"base":0,"created_at":"2026-11-25T04:33:59.042148Z","expires_at":"2026-11-26T04:33:59.042148Z","fingerprint":"79eb4cd631b9e09c88574947ca41c8e8","id":"0f10b9ce-b70f-4d0d-ab2e-56efa4320f97","note":"hours dropped","policies":[{"name":"desk.cedar","text":"@id(\"see\")\n@reason(\"Cards are seen.\")\npermit (principal, action == Action::\"view\", resource);\n@id(\"desk\")\n@reason(\"It takes the role operator or supervisor.\")\npermit (principal, action == Action::\"unblock\", resource) when { principal.roles.contains(\"operator\") || principal.roles.contains(\"supervisor\") };\n"}],"proposer":"olga"}', 1795581239042148, 1795667639042148, 'executed', '', '', 1795581239046742, '{}', 2, 'policy');


--
-- Data for Name: sessions; Type: TABLE DATA; Schema: public; Owner: -
--



--
-- Data for Name: unconfirmed; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.unconfirmed VALUES ('OLD-DONE', 1, 2, '355fd437-49c2-451a-884f-9567a62adbd5');
INSERT INTO public.unconfirmed VALUES ('OLD-AES', 0, 1, '5edcef35-e88d-4db3-8dee-0a30572bc3ff');
INSERT INTO public.unconfirmed VALUES ('OLD-COUNTED', 3, 3, '26fc6e1f-5ffd-4308-a880-149d6470763f');
INSERT INTO public.unconfirmed VALUES ('OLD-OPEN', 0, 0, 'c18eed63-9b54-4cfc-ae22-ab4d7cf44156');
INSERT INTO public.unconfirmed VALUES ('OLD-CHIEF', 1, 1, '5142d09b-35fd-4088-9845-3e1d90eb76d6');
INSERT INTO public.unconfirmed VALUES ('OLD-CHIEF-2', 0, 0, 'e5761840-3da5-4f18-8f8f-735b0b3cb2a3');


--
-- Name: goose_db_version_id_seq; Type: SEQUENCE SET; Schema: public; Owner: -
--

SELECT pg_catalog.setval('public.goose_db_version_id_seq', 12, true);


--
-- Name: audit_checkpoints audit_checkpoints_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.audit_checkpoints
    ADD CONSTRAINT audit_checkpoints_pkey PRIMARY KEY (size);


--
-- Name: audit_cursors audit_cursors_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.audit_cursors
    ADD CONSTRAINT audit_cursors_pkey PRIMARY KEY (sink);


--
-- Name: audit_entries audit_entries_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.audit_entries
    ADD CONSTRAINT audit_entries_pkey PRIMARY KEY (sequence);


--
-- Name: audit_log audit_log_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.audit_log
    ADD CONSTRAINT audit_log_pkey PRIMARY KEY (id);


--
-- Name: audit_nodes audit_nodes_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.audit_nodes
    ADD CONSTRAINT audit_nodes_pkey PRIMARY KEY (level, place);


--
-- Name: card_syncs card_syncs_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.card_syncs
    ADD CONSTRAINT card_syncs_pkey PRIMARY KEY (id);


--
-- Name: card_types card_types_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.card_types
    ADD CONSTRAINT card_types_pkey PRIMARY KEY (id);


--
-- Name: card_words_made card_words_made_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.card_words_made
    ADD CONSTRAINT card_words_made_pkey PRIMARY KEY (id);


--
-- Name: card_words card_words_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.card_words
    ADD CONSTRAINT card_words_pkey PRIMARY KEY (word, serial);


--
-- Name: cards cards_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.cards
    ADD CONSTRAINT cards_pkey PRIMARY KEY (serial);


--
-- Name: current_versions current_versions_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.current_versions
    ADD CONSTRAINT current_versions_pkey PRIMARY KEY (key);


--
-- Name: cursor_key cursor_key_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.cursor_key
    ADD CONSTRAINT cursor_key_pkey PRIMARY KEY (id);


--
-- Name: goose_db_version goose_db_version_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.goose_db_version
    ADD CONSTRAINT goose_db_version_pkey PRIMARY KEY (id);


--
-- Name: heartbeat heartbeat_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.heartbeat
    ADD CONSTRAINT heartbeat_pkey PRIMARY KEY (id);


--
-- Name: approvals key_approvals_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.approvals
    ADD CONSTRAINT key_approvals_pkey PRIMARY KEY (proposal, officer);


--
-- Name: proposals key_proposals_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.proposals
    ADD CONSTRAINT key_proposals_pkey PRIMARY KEY (id);


--
-- Name: key_records key_records_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.key_records
    ADD CONSTRAINT key_records_pkey PRIMARY KEY (key, version);


--
-- Name: limits limits_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.limits
    ADD CONSTRAINT limits_pkey PRIMARY KEY (key);


--
-- Name: operators operators_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.operators
    ADD CONSTRAINT operators_pkey PRIMARY KEY (id);


--
-- Name: policy_decisions policy_decisions_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.policy_decisions
    ADD CONSTRAINT policy_decisions_pkey PRIMARY KEY (sequence);


--
-- Name: policy_versions policy_versions_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.policy_versions
    ADD CONSTRAINT policy_versions_pkey PRIMARY KEY (version);


--
-- Name: policy_versions policy_versions_proposal_key; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.policy_versions
    ADD CONSTRAINT policy_versions_proposal_key UNIQUE (proposal);


--
-- Name: process_moves process_moves_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.process_moves
    ADD CONSTRAINT process_moves_pkey PRIMARY KEY (before, after);


--
-- Name: processes processes_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.processes
    ADD CONSTRAINT processes_pkey PRIMARY KEY (id);


--
-- Name: sessions sessions_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.sessions
    ADD CONSTRAINT sessions_pkey PRIMARY KEY (hash);


--
-- Name: unconfirmed unconfirmed_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.unconfirmed
    ADD CONSTRAINT unconfirmed_pkey PRIMARY KEY (card);


--
-- Name: approvals_by_person; Type: INDEX; Schema: public; Owner: -
--

CREATE UNIQUE INDEX approvals_by_person ON public.approvals USING btree (proposal, person) WHERE (person <> ''::text);


--
-- Name: card_syncs_by_file; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX card_syncs_by_file ON public.card_syncs USING btree (source, hash, started_at);


--
-- Name: card_syncs_newest; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX card_syncs_newest ON public.card_syncs USING btree (started_at, id);


--
-- Name: cards_by_key; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX cards_by_key ON public.cards USING btree (type, master_key_version, serial);


--
-- Name: cards_by_source; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX cards_by_source ON public.cards USING btree (source, synced_at, serial);


--
-- Name: operators_by_token; Type: INDEX; Schema: public; Owner: -
--

CREATE UNIQUE INDEX operators_by_token ON public.operators USING btree (issuer, subject) WHERE (subject <> ''::text);


--
-- Name: processes_begun; Type: INDEX; Schema: public; Owner: -
--

CREATE UNIQUE INDEX processes_begun ON public.processes USING btree (begun_key) WHERE (begun_key IS NOT NULL);


--
-- Name: processes_challenge; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX processes_challenge ON public.processes USING btree (card, challenge) WHERE (challenge <> ''::text);


--
-- Name: processes_given; Type: INDEX; Schema: public; Owner: -
--

CREATE UNIQUE INDEX processes_given ON public.processes USING btree (given_key) WHERE (given_key IS NOT NULL);


--
-- Name: processes_waiting; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX processes_waiting ON public.processes USING btree (expires_at) WHERE (state = 'waiting'::text);


--
-- Name: proposals_newest; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX proposals_newest ON public.proposals USING btree (kind, created_at, id);


--
-- Name: sessions_by_person; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX sessions_by_person ON public.sessions USING btree (person);


--
-- Name: approvals approvals_no_delete; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER approvals_no_delete BEFORE DELETE ON public.approvals FOR EACH ROW EXECUTE FUNCTION public.refuse_change('an approval cannot be deleted');


--
-- Name: approvals approvals_no_update; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER approvals_no_update BEFORE UPDATE ON public.approvals FOR EACH ROW EXECUTE FUNCTION public.refuse_change('an approval cannot be changed');


--
-- Name: audit_checkpoints audit_checkpoints_in_order; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER audit_checkpoints_in_order BEFORE INSERT ON public.audit_checkpoints FOR EACH ROW EXECUTE FUNCTION public.audit_checkpoint_is_next();


--
-- Name: audit_checkpoints audit_checkpoints_no_delete; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER audit_checkpoints_no_delete BEFORE DELETE ON public.audit_checkpoints FOR EACH ROW EXECUTE FUNCTION public.refuse_change('the audit log is append-only: checkpoints cannot be deleted');


--
-- Name: audit_checkpoints audit_checkpoints_no_truncate; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER audit_checkpoints_no_truncate BEFORE TRUNCATE ON public.audit_checkpoints FOR EACH STATEMENT EXECUTE FUNCTION public.refuse_change('the audit log is append-only: checkpoints cannot be deleted');


--
-- Name: audit_checkpoints audit_checkpoints_no_update; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER audit_checkpoints_no_update BEFORE UPDATE ON public.audit_checkpoints FOR EACH ROW EXECUTE FUNCTION public.refuse_change('the audit log is append-only: checkpoints cannot be changed');


--
-- Name: audit_entries audit_entries_in_order; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER audit_entries_in_order BEFORE INSERT ON public.audit_entries FOR EACH ROW EXECUTE FUNCTION public.audit_entry_is_next();


--
-- Name: audit_entries audit_entries_no_delete; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER audit_entries_no_delete BEFORE DELETE ON public.audit_entries FOR EACH ROW EXECUTE FUNCTION public.refuse_change('the audit log is append-only: entries cannot be deleted');


--
-- Name: audit_entries audit_entries_no_truncate; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER audit_entries_no_truncate BEFORE TRUNCATE ON public.audit_entries FOR EACH STATEMENT EXECUTE FUNCTION public.refuse_change('the audit log is append-only: entries cannot be deleted');


--
-- Name: audit_entries audit_entries_no_update; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER audit_entries_no_update BEFORE UPDATE ON public.audit_entries FOR EACH ROW EXECUTE FUNCTION public.audit_entry_stays();


--
-- Name: audit_entries audit_entries_with_leaf; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER audit_entries_with_leaf BEFORE INSERT ON public.audit_entries FOR EACH ROW WHEN ((new.leaf IS NULL)) EXECUTE FUNCTION public.refuse_change('the audit log is append-only: an entry needs its leaf');


--
-- Name: audit_log audit_log_no_delete; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER audit_log_no_delete BEFORE DELETE ON public.audit_log FOR EACH ROW EXECUTE FUNCTION public.refuse_change('the audit log is append-only');


--
-- Name: audit_log audit_log_no_truncate; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER audit_log_no_truncate BEFORE TRUNCATE ON public.audit_log FOR EACH STATEMENT EXECUTE FUNCTION public.refuse_change('the audit log is append-only');


--
-- Name: audit_log audit_log_stays; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER audit_log_stays BEFORE UPDATE ON public.audit_log FOR EACH ROW EXECUTE FUNCTION public.audit_log_stays();


--
-- Name: audit_nodes audit_nodes_no_delete; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER audit_nodes_no_delete BEFORE DELETE ON public.audit_nodes FOR EACH ROW EXECUTE FUNCTION public.refuse_change('the audit log is append-only: its tree cannot be deleted');


--
-- Name: audit_nodes audit_nodes_no_truncate; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER audit_nodes_no_truncate BEFORE TRUNCATE ON public.audit_nodes FOR EACH STATEMENT EXECUTE FUNCTION public.refuse_change('the audit log is append-only: its tree cannot be deleted');


--
-- Name: audit_nodes audit_nodes_no_update; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER audit_nodes_no_update BEFORE UPDATE ON public.audit_nodes FOR EACH ROW EXECUTE FUNCTION public.refuse_change('the audit log is append-only: its tree cannot be changed');


--
-- Name: policy_versions policy_versions_no_delete; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER policy_versions_no_delete BEFORE DELETE ON public.policy_versions FOR EACH ROW EXECUTE FUNCTION public.refuse_change('a version of the policies cannot be deleted');


--
-- Name: policy_versions policy_versions_no_update; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER policy_versions_no_update BEFORE UPDATE ON public.policy_versions FOR EACH ROW EXECUTE FUNCTION public.refuse_change('a version of the policies cannot be changed');


--
-- Name: processes processes_move; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER processes_move BEFORE UPDATE ON public.processes FOR EACH ROW EXECUTE FUNCTION public.process_may_move();


--
-- Name: processes processes_no_delete; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER processes_no_delete BEFORE DELETE ON public.processes FOR EACH ROW EXECUTE FUNCTION public.refuse_change('a process cannot be deleted');


--
-- Name: processes processes_state; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER processes_state BEFORE INSERT ON public.processes FOR EACH ROW EXECUTE FUNCTION public.process_may_be();


--
-- Name: proposals proposals_no_delete; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER proposals_no_delete BEFORE DELETE ON public.proposals FOR EACH ROW EXECUTE FUNCTION public.refuse_change('a proposal cannot be deleted');


--
-- Name: proposals proposals_statement_stays; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER proposals_statement_stays BEFORE UPDATE OF id, kind, statement, created_at, expires_at ON public.proposals FOR EACH ROW EXECUTE FUNCTION public.refuse_change('what a proposal says cannot be changed');


--
-- Name: approvals key_approvals_proposal_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.approvals
    ADD CONSTRAINT key_approvals_proposal_fkey FOREIGN KEY (proposal) REFERENCES public.proposals(id);


--
-- Name: policy_versions policy_versions_proposal_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.policy_versions
    ADD CONSTRAINT policy_versions_proposal_fkey FOREIGN KEY (proposal) REFERENCES public.proposals(id);


--
-- PostgreSQL database dump complete
--


