PRAGMA foreign_keys=OFF;
BEGIN TRANSACTION;
CREATE TABLE goose_db_version (
		id INTEGER PRIMARY KEY AUTOINCREMENT,
		version_id INTEGER NOT NULL,
		is_applied INTEGER NOT NULL,
		tstamp TIMESTAMP DEFAULT (datetime('now'))
	);
INSERT INTO goose_db_version VALUES(1,0,1,'2026-11-25 04:33:50');
INSERT INTO goose_db_version VALUES(2,1,1,'2026-11-25 04:33:50');
INSERT INTO goose_db_version VALUES(3,2,1,'2026-11-25 04:33:50');
INSERT INTO goose_db_version VALUES(4,3,1,'2026-11-25 04:33:50');
CREATE TABLE card_types (
    id             TEXT NOT NULL PRIMARY KEY,
    name           TEXT NOT NULL,
    profile        TEXT NOT NULL,
    unblock_remote TEXT NOT NULL, -- card state to whether the use case is on
    updated_by     TEXT NOT NULL,
    updated_at     INTEGER
) STRICT, WITHOUT ROWID;
INSERT INTO card_types VALUES('aes256','Employee card','gids-aes256','{"active":true,"blocked":true}','administrator',1795581230970197);
INSERT INTO card_types VALUES('counted','Card that counts','counted','{"blocked":true}','administrator',1795581230961180);
INSERT INTO card_types VALUES('tdes3','Employee card','gids-tdes3','{"active":true,"blocked":true}','administrator',1795581230964489);
CREATE TABLE cards (
    serial                 TEXT NOT NULL PRIMARY KEY,
    type                   TEXT NOT NULL,
    state                  TEXT NOT NULL,
    cuid                   BLOB,
    kdd                    BLOB,
    master_key_version     INTEGER NOT NULL,
    holder_id              TEXT NOT NULL,
    holder_name            TEXT NOT NULL,
    holder_email           TEXT NOT NULL,
    holder_employee_number TEXT NOT NULL,
    holder_unit            TEXT NOT NULL,
    holder_groups          TEXT NOT NULL,
    holder_state           TEXT NOT NULL,
    synced_at              INTEGER,
    serial_folded          TEXT NOT NULL, -- what searches compare with
    holder_folded          TEXT NOT NULL
, wrapped_key BLOB) STRICT, WITHOUT ROWID;
INSERT INTO cards VALUES('OLD-AES','aes256','blocked',X'00112233',X'00010203040506070809',1,'u9','Žofie Åberg','zofie@example.org','7','R&D','["staff","night"]','active',1795581230972794,'old-aes',replace('žofie åberg\nu9\nzofie@example.org\n7','\n',char(10)),NULL);
INSERT INTO cards VALUES('OLD-COUNTED','counted','blocked',X'',X'',1,'u417','Astrid Berg','','','','null','active',1795581230978223,'old-counted',replace('astrid berg\nu417\n\n','\n',char(10)),NULL);
INSERT INTO cards VALUES('OLD-DONE','tdes3','blocked',X'',X'',1,'u417','Astrid Berg','','','','null','active',1795581230967311,'old-done',replace('astrid berg\nu417\n\n','\n',char(10)),NULL);
INSERT INTO cards VALUES('OLD-OF-ANNA','tdes3','blocked',X'',X'',1,'anna','Astrid Berg','','','','null','active',1795581230990162,'old-of-anna',replace('astrid berg\nanna\n\n','\n',char(10)),NULL);
INSERT INTO cards VALUES('OLD-OPEN','tdes3','blocked',X'',X'',1,'u417','Astrid Berg','','','','null','active',1795581230996088,'old-open',replace('astrid berg\nu417\n\n','\n',char(10)),NULL);
INSERT INTO cards VALUES('OLD-REVOKED','tdes3','revoked',X'',X'',1,'u417','Astrid Berg','','','','null','active',1795581230984779,'old-revoked',replace('astrid berg\nu417\n\n','\n',char(10)),NULL);
CREATE TABLE processes (
    id          TEXT NOT NULL PRIMARY KEY,
    state       TEXT NOT NULL,
    outcome     TEXT NOT NULL,
    card        TEXT NOT NULL,
    client      TEXT NOT NULL,
    operator    TEXT NOT NULL,
    reason      TEXT NOT NULL,
    started_at  INTEGER,
    expires_at  INTEGER,
    answered_at INTEGER,
    finished_at INTEGER,
    answer      INTEGER, -- its response was the card's first, second, ... given out
    revision    INTEGER NOT NULL CHECK (revision > 0)
) STRICT, WITHOUT ROWID;
INSERT INTO processes VALUES('02cac017-a60d-499c-b121-c392df769429','answered','','OLD-COUNTED','identity-manager','anna','INC-20417, PIN forgotten',1795581231012514,1795582131012514,1795581231012514,NULL,1,1);
INSERT INTO processes VALUES('40c423be-fe86-44aa-be4b-84d195311bd9','completed','pin-changed','OLD-DONE','identity-manager','anna','INC-20417, PIN forgotten',1795581230999372,1795582130999372,1795581231001105,1795581231002123,1,3);
INSERT INTO processes VALUES('51fcac06-f665-40e4-8d17-2229295ea566','failed','failed','OLD-DONE','identity-manager','anna','INC-20417, PIN forgotten',1795581231003106,1795582131003106,1795581231004467,1795581231005256,2,3);
INSERT INTO processes VALUES('57f87f30-498b-48f0-8cfe-343d54f112e2','answered','','OLD-COUNTED','identity-manager','anna','INC-20417, PIN forgotten',1795581231015988,1795582131015988,1795581231015988,NULL,3,1);
INSERT INTO processes VALUES('587bf402-ac1e-440c-8604-738196ee1912','answered','','OLD-COUNTED','identity-manager','anna','INC-20417, PIN forgotten',1795581231014841,1795582131014841,1795581231014841,NULL,2,1);
INSERT INTO processes VALUES('9959f96d-f285-47a5-8225-a36a2bcbb911','started','','OLD-OPEN','identity-manager','anna','INC-20417, PIN forgotten',1795581231016977,1795582131016977,NULL,NULL,NULL,1);
INSERT INTO processes VALUES('b2a9139c-9a88-4811-8454-ab99f412be99','cancelled','','OLD-DONE','identity-manager','anna','INC-20417, PIN forgotten',1795581231006192,1795582131006192,NULL,1795581231006894,NULL,2);
INSERT INTO processes VALUES('b57ba53f-ba86-4995-b09b-30314d7f17b8','completed','pin-changed','OLD-AES','anna','anna','INC-20417, PIN forgotten',1795581231010461,1795582131010461,1795581231010461,1795581231011382,1,2);
CREATE TABLE unconfirmed (
    card  TEXT NOT NULL PRIMARY KEY,
    count INTEGER NOT NULL CHECK (count >= 0),
    given INTEGER NOT NULL DEFAULT 1 CHECK (given >= count)
) STRICT, WITHOUT ROWID;
INSERT INTO unconfirmed VALUES('OLD-AES',0,1);
INSERT INTO unconfirmed VALUES('OLD-COUNTED',3,3);
INSERT INTO unconfirmed VALUES('OLD-DONE',1,2);
CREATE TABLE audit_entries (
    sequence INTEGER NOT NULL PRIMARY KEY,
    entry    TEXT NOT NULL -- audit.Entry as JSON
) STRICT;
INSERT INTO audit_entries VALUES(1,'{"sequence":1,"time":"2026-11-25T04:33:50.96118Z","action":"card-type.put","outcome":"permit","client":"administrator","address":"127.0.0.1","request_id":"e64198ef-c2ee-4dc9-9784-eb15f67a339b","card_type":"counted","profile":"counted","detail":"unblock card remote is on for blocked"}');
INSERT INTO audit_entries VALUES(2,'{"sequence":2,"time":"2026-11-25T04:33:50.964489Z","action":"card-type.put","outcome":"permit","client":"administrator","address":"127.0.0.1","request_id":"f6d941c7-b8a3-44cc-a2cd-2e4d679b015a","card_type":"tdes3","profile":"gids-tdes3","detail":"unblock card remote is on for active, blocked"}');
INSERT INTO audit_entries VALUES(3,'{"sequence":3,"time":"2026-11-25T04:33:50.967494Z","action":"card.put","outcome":"permit","client":"identity-manager","address":"127.0.0.1","request_id":"779f31ba-0dfb-4c86-abcd-15c7cf93d6b9","card":"OLD-DONE","card_type":"tdes3","profile":"gids-tdes3","key_version":1,"detail":"card blocked, holder active"}');
INSERT INTO audit_entries VALUES(4,'{"sequence":4,"time":"2026-11-25T04:33:50.970197Z","action":"card-type.put","outcome":"permit","client":"administrator","address":"127.0.0.1","request_id":"e59b2f3b-9af7-4090-b087-1dc0f7359dc9","card_type":"aes256","profile":"gids-aes256","detail":"unblock card remote is on for active, blocked"}');
INSERT INTO audit_entries VALUES(5,'{"sequence":5,"time":"2026-11-25T04:33:50.972896Z","action":"card.put","outcome":"permit","client":"identity-manager","address":"127.0.0.1","request_id":"3190a479-a603-41f3-bbbd-5f0c28dcd5c7","card":"OLD-AES","card_type":"aes256","profile":"gids-aes256","key_version":1,"detail":"card blocked, holder active"}');
INSERT INTO audit_entries VALUES(6,'{"sequence":6,"time":"2026-11-25T04:33:50.978285Z","action":"card.put","outcome":"permit","client":"identity-manager","address":"127.0.0.1","request_id":"e0916ba3-6efa-4f47-a3a0-c5c40a5df46e","card":"OLD-COUNTED","card_type":"counted","profile":"counted","key_version":1,"detail":"card blocked, holder active"}');
INSERT INTO audit_entries VALUES(7,'{"sequence":7,"time":"2026-11-25T04:33:50.984893Z","action":"card.put","outcome":"permit","client":"identity-manager","address":"127.0.0.1","request_id":"543dddd8-87f9-4c83-8388-247ed04b99d3","card":"OLD-REVOKED","card_type":"tdes3","profile":"gids-tdes3","key_version":1,"detail":"card revoked, holder active"}');
INSERT INTO audit_entries VALUES(8,'{"sequence":8,"time":"2026-11-25T04:33:50.990274Z","action":"card.put","outcome":"permit","client":"identity-manager","address":"127.0.0.1","request_id":"734a03f4-3e26-424b-a7a2-81c602f752f5","card":"OLD-OF-ANNA","card_type":"tdes3","profile":"gids-tdes3","key_version":1,"detail":"card blocked, holder active"}');
INSERT INTO audit_entries VALUES(9,'{"sequence":9,"time":"2026-11-25T04:33:50.996287Z","action":"card.put","outcome":"permit","client":"identity-manager","address":"127.0.0.1","request_id":"9938cb39-6b3c-4e3f-baed-2cd8bc731ac9","card":"OLD-OPEN","card_type":"tdes3","profile":"gids-tdes3","key_version":1,"detail":"card blocked, holder active"}');
INSERT INTO audit_entries VALUES(10,'{"sequence":10,"time":"2026-11-25T04:33:50.999372Z","action":"unblock.start","outcome":"permit","client":"identity-manager","operator":"anna","delegation":"named by the client","address":"127.0.0.1","request_id":"9b09e6d5-141e-4186-8208-856d2e8ede73","process":"40c423be-fe86-44aa-be4b-84d195311bd9","card":"OLD-DONE","card_type":"tdes3","profile":"gids-tdes3","master_key":"master","key_version":1,"policies":["operator-with-reason"],"policy_version":"e2b839df7aa83d5cccbf2c3591bbdf98","reason":"INC-20417, PIN forgotten","latency_us":170}');
INSERT INTO audit_entries VALUES(11,'{"sequence":11,"time":"2026-11-25T04:33:51.001105Z","action":"unblock.respond","outcome":"permit","client":"identity-manager","operator":"anna","delegation":"named by the client","address":"127.0.0.1","request_id":"08ec5485-7b53-44a8-9361-73c37187b443","process":"40c423be-fe86-44aa-be4b-84d195311bd9","card":"OLD-DONE","card_type":"tdes3","profile":"gids-tdes3","master_key":"master","key_version":1,"policies":["operator-with-reason"],"policy_version":"e2b839df7aa83d5cccbf2c3591bbdf98","challenge":"1603EBDF1C8A2E72","reason":"INC-20417, PIN forgotten","latency_us":674}');
INSERT INTO audit_entries VALUES(12,'{"sequence":12,"time":"2026-11-25T04:33:51.002123Z","action":"unblock.complete","outcome":"permit","client":"identity-manager","operator":"anna","delegation":"named by the client","address":"127.0.0.1","request_id":"a5f2c217-a0c4-4f7f-8139-3268c795a9b3","process":"40c423be-fe86-44aa-be4b-84d195311bd9","card":"OLD-DONE","reason":"INC-20417, PIN forgotten","detail":"pin-changed"}');
INSERT INTO audit_entries VALUES(13,'{"sequence":13,"time":"2026-11-25T04:33:51.003106Z","action":"unblock.start","outcome":"permit","client":"identity-manager","operator":"anna","delegation":"named by the client","address":"127.0.0.1","request_id":"02748129-a1ee-4d76-b11e-cc5aa3f3a9da","process":"51fcac06-f665-40e4-8d17-2229295ea566","card":"OLD-DONE","card_type":"tdes3","profile":"gids-tdes3","master_key":"master","key_version":1,"policies":["operator-with-reason"],"policy_version":"e2b839df7aa83d5cccbf2c3591bbdf98","reason":"INC-20417, PIN forgotten","latency_us":213}');
INSERT INTO audit_entries VALUES(14,'{"sequence":14,"time":"2026-11-25T04:33:51.004467Z","action":"unblock.respond","outcome":"permit","client":"identity-manager","operator":"anna","delegation":"named by the client","address":"127.0.0.1","request_id":"8659f27e-341f-4e9e-8681-7c52dcd748e6","process":"51fcac06-f665-40e4-8d17-2229295ea566","card":"OLD-DONE","card_type":"tdes3","profile":"gids-tdes3","master_key":"master","key_version":1,"policies":["operator-with-reason"],"policy_version":"e2b839df7aa83d5cccbf2c3591bbdf98","challenge":"1603EBDF1C8A2E73","reason":"INC-20417, PIN forgotten","latency_us":374}');
INSERT INTO audit_entries VALUES(15,'{"sequence":15,"time":"2026-11-25T04:33:51.005256Z","action":"unblock.complete","outcome":"permit","client":"identity-manager","operator":"anna","delegation":"named by the client","address":"127.0.0.1","request_id":"ece2c9fc-d765-47b1-a79f-61675775eaaa","process":"51fcac06-f665-40e4-8d17-2229295ea566","card":"OLD-DONE","reason":"INC-20417, PIN forgotten","detail":"failed"}');
INSERT INTO audit_entries VALUES(16,'{"sequence":16,"time":"2026-11-25T04:33:51.006192Z","action":"unblock.start","outcome":"permit","client":"identity-manager","operator":"anna","delegation":"named by the client","address":"127.0.0.1","request_id":"003c3674-1e8f-4a57-b9e5-b47bf06a51a6","process":"b2a9139c-9a88-4811-8454-ab99f412be99","card":"OLD-DONE","card_type":"tdes3","profile":"gids-tdes3","master_key":"master","key_version":1,"policies":["operator-with-reason"],"policy_version":"e2b839df7aa83d5cccbf2c3591bbdf98","reason":"INC-20417, PIN forgotten","latency_us":160}');
INSERT INTO audit_entries VALUES(17,'{"sequence":17,"time":"2026-11-25T04:33:51.006894Z","action":"unblock.cancel","outcome":"permit","client":"identity-manager","operator":"anna","delegation":"named by the client","address":"127.0.0.1","request_id":"cbe9ec4f-b5b9-4c9e-b474-a414082cb606","process":"b2a9139c-9a88-4811-8454-ab99f412be99","card":"OLD-DONE","reason":"INC-20417, PIN forgotten"}');
INSERT INTO audit_entries VALUES(18,'{"sequence":18,"time":"2026-11-25T04:33:51.010461Z","action":"unblock.respond","outcome":"permit","client":"anna","operator":"anna","delegation":"own certificate","address":"127.0.0.1","request_id":"22d0ed3d-1af6-4264-8776-f2297cc3e087","process":"b57ba53f-ba86-4995-b09b-30314d7f17b8","card":"OLD-AES","card_type":"aes256","profile":"gids-aes256","master_key":"master","key_version":1,"policies":["operator-with-reason"],"policy_version":"e2b839df7aa83d5cccbf2c3591bbdf98","challenge":"91D302775B0C84EE6FA138C2D05B7E94","reason":"INC-20417, PIN forgotten","latency_us":418}');
INSERT INTO audit_entries VALUES(19,'{"sequence":19,"time":"2026-11-25T04:33:51.011382Z","action":"unblock.complete","outcome":"permit","client":"anna","operator":"anna","delegation":"own certificate","address":"127.0.0.1","request_id":"32d574f5-c262-453f-9da7-f82e5cf2880d","process":"b57ba53f-ba86-4995-b09b-30314d7f17b8","card":"OLD-AES","reason":"INC-20417, PIN forgotten","detail":"pin-changed"}');
INSERT INTO audit_entries VALUES(20,'{"sequence":20,"time":"2026-11-25T04:33:51.012514Z","action":"unblock.respond","outcome":"permit","client":"identity-manager","operator":"anna","delegation":"named by the client","address":"127.0.0.1","request_id":"e307e502-fe2e-4607-a09f-0d9c562eaf1b","process":"02cac017-a60d-499c-b121-c392df769429","card":"OLD-COUNTED","card_type":"counted","profile":"counted","master_key":"master","key_version":1,"policies":["operator-with-reason"],"policy_version":"e2b839df7aa83d5cccbf2c3591bbdf98","challenge":"1603EBDF1C8A2E01","reason":"INC-20417, PIN forgotten","latency_us":474}');
INSERT INTO audit_entries VALUES(21,'{"sequence":21,"time":"2026-11-25T04:33:51.014841Z","action":"unblock.respond","outcome":"permit","client":"identity-manager","operator":"anna","delegation":"named by the client","address":"127.0.0.1","request_id":"d0f22b74-c60b-4d69-86fc-b26051db5c4c","process":"587bf402-ac1e-440c-8604-738196ee1912","card":"OLD-COUNTED","card_type":"counted","profile":"counted","master_key":"master","key_version":1,"policies":["operator-with-reason"],"policy_version":"e2b839df7aa83d5cccbf2c3591bbdf98","challenge":"1603EBDF1C8A2E02","reason":"INC-20417, PIN forgotten","latency_us":449}');
INSERT INTO audit_entries VALUES(22,'{"sequence":22,"time":"2026-11-25T04:33:51.015988Z","action":"unblock.respond","outcome":"permit","client":"identity-manager","operator":"anna","delegation":"named by the client","address":"127.0.0.1","request_id":"ca114e26-d55c-4371-9f94-37d5c4f97116","process":"57f87f30-498b-48f0-8cfe-343d54f112e2","card":"OLD-COUNTED","card_type":"counted","profile":"counted","master_key":"master","key_version":1,"policies":["operator-with-reason"],"policy_version":"e2b839df7aa83d5cccbf2c3591bbdf98","challenge":"1603EBDF1C8A2E03","reason":"INC-20417, PIN forgotten","latency_us":292}');
INSERT INTO audit_entries VALUES(23,'{"sequence":23,"time":"2026-11-25T04:33:51.016977Z","action":"unblock.start","outcome":"permit","client":"identity-manager","operator":"anna","delegation":"named by the client","address":"127.0.0.1","request_id":"0dfdf43c-9907-4b00-af9d-0ec6ee02eed1","process":"9959f96d-f285-47a5-8225-a36a2bcbb911","card":"OLD-OPEN","card_type":"tdes3","profile":"gids-tdes3","master_key":"master","key_version":1,"policies":["operator-with-reason"],"policy_version":"e2b839df7aa83d5cccbf2c3591bbdf98","reason":"INC-20417, PIN forgotten","latency_us":119}');
INSERT INTO audit_entries VALUES(24,'{"sequence":24,"time":"2026-11-25T04:33:51.01771Z","action":"unblock.start","outcome":"deny","check":"card active","code":"card-not-active","client":"identity-manager","operator":"anna","delegation":"named by the client","address":"127.0.0.1","request_id":"5f231589-44c8-4e8f-b3fa-ed4e10650e4f","card":"OLD-REVOKED","card_type":"tdes3","reason":"INC-20417, PIN forgotten","detail":"The card is revoked. Only a card in use can be unblocked.","latency_us":119}');
INSERT INTO audit_entries VALUES(25,'{"sequence":25,"time":"2026-11-25T04:33:51.018775Z","action":"unblock.start","outcome":"deny","check":"policy permits","code":"policy-denied","client":"anna","operator":"anna","delegation":"own certificate","address":"127.0.0.1","request_id":"62402ca6-4c2e-4d87-9778-768321d350ea","card":"OLD-OF-ANNA","card_type":"tdes3","profile":"gids-tdes3","master_key":"master","key_version":1,"policies":["not-own-card"],"policy_version":"e2b839df7aa83d5cccbf2c3591bbdf98","reason":"INC-20417, PIN forgotten","detail":"Nobody unblocks their own card. Ask another operator.","latency_us":207}');
INSERT INTO audit_entries VALUES(26,'{"sequence":26,"time":"2026-11-25T04:33:51.022434Z","action":"key.propose","outcome":"permit","client":"olga","address":"127.0.0.1","request_id":"38da7dcf-25bc-4184-b105-c7684c63f9e4","master_key":"master","key_version":1,"proposal":"4c597fde-08f5-49dd-a2dd-204be1122dbf","proposal_hash":"bab054486d4515fbf20921eed872c2b8137f7b94102054348f79a8e78762c57a","reason":"seen at a market","detail":"Suspend master key master version 1: none of its cards can be unblocked until it is resumed. Token 188414c3facaf721."}');
INSERT INTO audit_entries VALUES(27,'{"sequence":27,"time":"2026-11-25T04:33:51.022434Z","action":"key.execute","outcome":"permit","client":"olga","address":"127.0.0.1","request_id":"38da7dcf-25bc-4184-b105-c7684c63f9e4","master_key":"master","key_version":1,"proposal":"4c597fde-08f5-49dd-a2dd-204be1122dbf","proposal_hash":"bab054486d4515fbf20921eed872c2b8137f7b94102054348f79a8e78762c57a","reason":"seen at a market","detail":"done by one officer, as may be"}');
INSERT INTO audit_entries VALUES(28,'{"sequence":28,"time":"2026-11-25T04:33:51.025023Z","action":"key.propose","outcome":"permit","client":"olga","address":"127.0.0.1","request_id":"5ca61d04-db63-43da-b368-0bd9a686a421","master_key":"master","key_version":1,"proposal":"9ef8afc7-8339-4f69-a8f5-173f6fe7f03b","proposal_hash":"4f0b41992f3ed29009fccfc4ba4eb400afbc386971900716611fcf5f8995da6e","reason":"it was another","detail":"Resume master key master version 1, so that its cards can be unblocked again. Token 188414c3facaf721."}');
INSERT INTO audit_entries VALUES(29,'{"sequence":29,"time":"2026-11-25T04:33:51.028481Z","action":"key.approve","outcome":"permit","client":"otto","address":"127.0.0.1","request_id":"6c9b0f50-a2c5-44ac-9b3c-cfa884a5b1d6","master_key":"master","key_version":1,"proposal":"9ef8afc7-8339-4f69-a8f5-173f6fe7f03b","proposal_hash":"4f0b41992f3ed29009fccfc4ba4eb400afbc386971900716611fcf5f8995da6e","reason":"it was another","detail":"Resume master key master version 1, so that its cards can be unblocked again. Token 188414c3facaf721."}');
INSERT INTO audit_entries VALUES(30,'{"sequence":30,"time":"2026-11-25T04:33:51.028224Z","action":"key.execute","outcome":"permit","client":"otto","address":"127.0.0.1","request_id":"6c9b0f50-a2c5-44ac-9b3c-cfa884a5b1d6","master_key":"master","key_version":1,"proposal":"9ef8afc7-8339-4f69-a8f5-173f6fe7f03b","proposal_hash":"4f0b41992f3ed29009fccfc4ba4eb400afbc386971900716611fcf5f8995da6e","reason":"it was another"}');
INSERT INTO audit_entries VALUES(31,'{"sequence":31,"time":"2026-11-25T04:33:51.029966Z","action":"key.propose","outcome":"permit","client":"olga","address":"127.0.0.1","request_id":"c33a36d5-70ab-4b59-a368-ee4cfc7c3deb","master_key":"master","key_version":1,"proposal":"815643cf-75a0-474f-acd5-57aac4219090","proposal_hash":"1866fbea1978c477f43bb880ee8ed1feafe75d25d7f72c6aede7ec41662747e8","reason":"by mistake","detail":"Deactivate master key master version 1: it gets no new cards and goes on answering for its own. Token 188414c3facaf721."}');
INSERT INTO audit_entries VALUES(32,'{"sequence":32,"time":"2026-11-25T04:33:51.031321Z","action":"key.reject","outcome":"permit","client":"otto","address":"127.0.0.1","request_id":"248aa7f0-d714-40f3-bb86-f0aa6c9ebe17","master_key":"master","key_version":1,"proposal":"815643cf-75a0-474f-acd5-57aac4219090","proposal_hash":"1866fbea1978c477f43bb880ee8ed1feafe75d25d7f72c6aede7ec41662747e8","reason":"by mistake","detail":"Deactivate master key master version 1: it gets no new cards and goes on answering for its own. Token 188414c3facaf721."}');
INSERT INTO audit_entries VALUES(33,'{"sequence":33,"time":"2026-11-25T04:33:51.032047Z","action":"key.propose","outcome":"permit","client":"olga","address":"127.0.0.1","request_id":"95b98c74-a268-4bcc-bd1f-a7c862ae0204","master_key":"master","key_version":1,"proposal":"8bcf6e89-8737-4fea-ab68-265d817e7036","proposal_hash":"3acc27096deef3f15db6c5c45c61954a8b8a9f2b1b4b45f33b37ffc17154e963","reason":"left open","detail":"Mark master key master version 1 as compromised: none of its cards can ever be unblocked again. Token 188414c3facaf721."}');
CREATE TABLE heartbeat (
    id INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    at INTEGER NOT NULL
) STRICT;
INSERT INTO heartbeat VALUES(1,1795581230956641);
CREATE TABLE key_records (
    key        TEXT NOT NULL,
    version    INTEGER NOT NULL,
    state      TEXT NOT NULL,
    type       TEXT NOT NULL,
    use        TEXT NOT NULL,
    kcv        TEXT NOT NULL, -- list as JSON
    proposal   TEXT NOT NULL,
    created_at INTEGER,
    changed_at INTEGER,
    revision   INTEGER NOT NULL CHECK (revision > 0),
    PRIMARY KEY (key, version)
) STRICT, WITHOUT ROWID;
INSERT INTO key_records VALUES('master',1,'active','aes256','derive','[{"convention":"aes-cmac-zero","value":"377822"},{"convention":"aes-ecb-zero","value":"F29000"}]','9ef8afc7-8339-4f69-a8f5-173f6fe7f03b',1795581231022434,1795581231028481,2);
CREATE TABLE current_versions (
    key     TEXT NOT NULL PRIMARY KEY,
    version INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE key_proposals (
    id         TEXT NOT NULL PRIMARY KEY,
    statement  TEXT NOT NULL, -- custody.Statement in its canonical form, which is what the hash is of
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    state      TEXT NOT NULL,
    ended_by   TEXT NOT NULL,
    end_reason TEXT NOT NULL,
    ended_at   INTEGER,
    result     TEXT NOT NULL, -- custody.Result as JSON
    revision   INTEGER NOT NULL CHECK (revision > 0)
) STRICT, WITHOUT ROWID;
INSERT INTO key_proposals VALUES('4c597fde-08f5-49dd-a2dd-204be1122dbf','{"act":"suspend","approvals":0,"created_at":"2026-11-25T04:33:51.022434Z","expires_at":"2026-11-26T04:33:51.022434Z","id":"4c597fde-08f5-49dd-a2dd-204be1122dbf","parameters":{"key":"master","reason":"seen at a market","version":1},"proposer":"olga","token":"188414c3facaf721"}',1795581231022434,1795667631022434,'executed','','',1795581231022434,'{}',1);
INSERT INTO key_proposals VALUES('815643cf-75a0-474f-acd5-57aac4219090','{"act":"deactivate","approvals":1,"created_at":"2026-11-25T04:33:51.029966Z","expires_at":"2026-11-26T04:33:51.029966Z","id":"815643cf-75a0-474f-acd5-57aac4219090","parameters":{"key":"master","reason":"by mistake","version":1},"proposer":"olga","token":"188414c3facaf721"}',1795581231029966,1795667631029966,'rejected','otto','by mistake',1795581231031222,'{}',2);
INSERT INTO key_proposals VALUES('8bcf6e89-8737-4fea-ab68-265d817e7036','{"act":"mark-compromised","approvals":1,"created_at":"2026-11-25T04:33:51.032047Z","expires_at":"2026-11-26T04:33:51.032047Z","id":"8bcf6e89-8737-4fea-ab68-265d817e7036","parameters":{"key":"master","reason":"left open","version":1},"proposer":"olga","token":"188414c3facaf721"}',1795581231032047,1795667631032047,'open','','',NULL,'{}',1);
INSERT INTO key_proposals VALUES('9ef8afc7-8339-4f69-a8f5-173f6fe7f03b','{"act":"resume","approvals":1,"created_at":"2026-11-25T04:33:51.025023Z","expires_at":"2026-11-26T04:33:51.025023Z","id":"9ef8afc7-8339-4f69-a8f5-173f6fe7f03b","parameters":{"key":"master","reason":"it was another","version":1},"proposer":"olga","token":"188414c3facaf721"}',1795581231025023,1795667631025023,'executed','','',1795581231028224,'{}',2);
CREATE TABLE key_approvals (
    proposal TEXT NOT NULL REFERENCES key_proposals (id),
    officer  TEXT NOT NULL,
    place    INTEGER NOT NULL, -- in the order of the approvals
    hash     TEXT NOT NULL,
    at       INTEGER NOT NULL,
    PRIMARY KEY (proposal, officer)
) STRICT, WITHOUT ROWID;
INSERT INTO key_approvals VALUES('9ef8afc7-8339-4f69-a8f5-173f6fe7f03b','otto',0,'4f0b41992f3ed29009fccfc4ba4eb400afbc386971900716611fcf5f8995da6e',1795581231028224);
DELETE FROM sqlite_sequence;
INSERT INTO sqlite_sequence VALUES('goose_db_version',4);
CREATE TRIGGER audit_entries_in_order BEFORE INSERT ON audit_entries
WHEN NEW.sequence <> (SELECT coalesce(max(sequence), 0) + 1 FROM audit_entries)
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only: the sequence number is not the next'); END;
CREATE TRIGGER audit_entries_no_update BEFORE UPDATE ON audit_entries
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only: entries cannot be changed'); END;
CREATE TRIGGER audit_entries_no_delete BEFORE DELETE ON audit_entries
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only: entries cannot be deleted'); END;
CREATE INDEX key_proposals_newest ON key_proposals (created_at, id);
CREATE TRIGGER key_proposals_statement_stays BEFORE UPDATE OF id, statement, created_at, expires_at ON key_proposals
BEGIN SELECT RAISE(ABORT, 'what a proposal says cannot be changed'); END;
CREATE TRIGGER key_proposals_no_delete BEFORE DELETE ON key_proposals
BEGIN SELECT RAISE(ABORT, 'a proposal cannot be deleted'); END;
CREATE INDEX cards_by_key ON cards (type, master_key_version, serial);
COMMIT;
PRAGMA application_id=1280590664;
