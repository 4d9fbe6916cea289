"""A database of schema v0, with rows as an existing deployment has them, the odd ones included."""

SCHEMA = """
CREATE TABLE users (
    user_id bigint NOT NULL AUTO_INCREMENT, username varchar(255) NOT NULL, password char(60) NOT NULL,
    nickname varchar(30) DEFAULT '', avatar text, enabled tinyint(1) DEFAULT 0,
    created_at timestamp NULL DEFAULT CURRENT_TIMESTAMP,
    updated_at timestamp NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP,
    PRIMARY KEY (user_id), UNIQUE KEY username (username)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
CREATE TABLE chat_rooms (
    room_id bigint NOT NULL AUTO_INCREMENT, name varchar(50) NULL,
    created_at timestamp NULL, updated_at timestamp NULL,
    PRIMARY KEY (room_id), UNIQUE KEY name (name)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;
CREATE TABLE chat_groups (
    group_id bigint NOT NULL AUTO_INCREMENT, owner_id bigint, room_id bigint, name varchar(50) NOT NULL, avatar text,
    created_at timestamp NULL, updated_at timestamp NULL,
    PRIMARY KEY (group_id), CONSTRAINT fk_group_owner FOREIGN KEY (owner_id) REFERENCES users (user_id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci;
CREATE TABLE group_members (
    id bigint NOT NULL AUTO_INCREMENT, group_id bigint, user_id bigint,
    created_at timestamp NULL, updated_at timestamp NULL,
    PRIMARY KEY (id), UNIQUE KEY member (group_id, user_id),
    CONSTRAINT group_members_ibfk_1 FOREIGN KEY (group_id) REFERENCES chat_groups (group_id),
    CONSTRAINT group_members_ibfk_2 FOREIGN KEY (user_id) REFERENCES users (user_id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
CREATE TABLE contact_requests (
    id bigint NOT NULL AUTO_INCREMENT, request_uid bigint, user_id bigint, status smallint DEFAULT 0,
    expired_at timestamp NULL, created_at timestamp NULL, updated_at timestamp NULL,
    PRIMARY KEY (id),
    CONSTRAINT contact_requests_ibfk_1 FOREIGN KEY (request_uid) REFERENCES users (user_id),
    CONSTRAINT contact_requests_ibfk_2 FOREIGN KEY (user_id) REFERENCES users (user_id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
CREATE TABLE contacts (
    contact_id bigint NOT NULL AUTO_INCREMENT, owner_id bigint, user_id bigint NULL, group_id bigint NULL,
    room_id bigint, status smallint, last_msg_id bigint NULL, last_msg_time timestamp NULL,
    last_msg_content varchar(100) NULL,
    created_at timestamp NULL, updated_at timestamp NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP,
    PRIMARY KEY (contact_id), UNIQUE KEY owner_user_group (owner_id, user_id, group_id),
    CONSTRAINT contacts_ibfk_1 FOREIGN KEY (owner_id) REFERENCES users (user_id),
    CONSTRAINT contacts_ibfk_2 FOREIGN KEY (user_id) REFERENCES users (user_id),
    CONSTRAINT contacts_ibfk_3 FOREIGN KEY (group_id) REFERENCES chat_groups (group_id),
    CONSTRAINT contacts_ibfk_4 FOREIGN KEY (room_id) REFERENCES chat_rooms (room_id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
CREATE TABLE chat_messages (
    message_id bigint NOT NULL AUTO_INCREMENT, room_id bigint, sender_id bigint, type smallint,
    text text, image text, thumbnail text, call_id bigint NULL, revoked tinyint(1),
    created_at timestamp NULL, updated_at timestamp NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP,
    PRIMARY KEY (message_id),
    CONSTRAINT chat_messages_ibfk_1 FOREIGN KEY (room_id) REFERENCES chat_rooms (room_id),
    CONSTRAINT chat_messages_ibfk_2 FOREIGN KEY (sender_id) REFERENCES users (user_id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
CREATE TABLE message_deliveries (
    id bigint NOT NULL AUTO_INCREMENT, message_id bigint, receiver_id bigint, status smallint DEFAULT 1,
    created_at timestamp NULL, updated_at timestamp NULL,
    PRIMARY KEY (id), KEY receiver (receiver_id, id),
    CONSTRAINT message_deliveries_ibfk_1 FOREIGN KEY (message_id) REFERENCES chat_messages (message_id),
    CONSTRAINT message_deliveries_ibfk_2 FOREIGN KEY (receiver_id) REFERENCES users (user_id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
CREATE TABLE calls (
    call_id bigint NOT NULL AUTO_INCREMENT, caller_id bigint, message_id bigint, members text, status smallint,
    start_time timestamp NULL, end_time timestamp NULL, end_reason smallint,
    created_at timestamp NULL, updated_at timestamp NULL,
    PRIMARY KEY (call_id),
    CONSTRAINT calls_ibfk_1 FOREIGN KEY (caller_id) REFERENCES users (user_id),
    CONSTRAINT calls_ibfk_2 FOREIGN KEY (message_id) REFERENCES chat_messages (message_id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
CREATE TABLE user_settings (
    user_id bigint NOT NULL AUTO_INCREMENT, wallpaper text, created_at timestamp NULL, updated_at timestamp NULL,
    PRIMARY KEY (user_id), CONSTRAINT user_settings_ibfk_1 FOREIGN KEY (user_id) REFERENCES users (user_id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
"""

HASH = "$2a$06$" + "abcdefghijklmnopqrstuv" + "ABCDEFGHIJKLMNOPQRSTUVWXYZ01234"
WINTER = "2025-12-01 09:00:00"
"""Europe/Berlin, like all times here: 08:00 in UTC."""
LONG = "长" * 21 + "😀" * 5

# 2025-10-26 02:30 in Berlin happened twice; the rows that say which of them are written with the session in UTC.
ROWS = f"""
SET time_zone = 'SYSTEM';
INSERT INTO users VALUES
    (1, 'ann', '{HASH}', 'Ann 😀', 'file/ann.png', 0, '{WINTER}', '{WINTER}'),
    (2, 'Bob', '{HASH}', NULL, NULL, NULL, '2025-07-01 12:00:00', '2025-07-02 12:00:00'),
    (3, 'bob', '{HASH}', '', '', 1, NULL, NULL),
    (4, 'ｂｏｂ', '{HASH}', 'full width', '', 0, NULL, '{WINTER}'),
    (5, 'straße', '{HASH}', 'five', '', 0, '{WINTER}', NULL),
    (6, 'STRASSE', '{HASH}', 'six', '', 0, '{WINTER}', '{WINTER}'),
    (9, '用户😀', '{HASH}', '九', 'https://example.org/nine.png', 0, '{WINTER}', '{WINTER}');
INSERT INTO chat_rooms VALUES
    (1, 'u-1-2', '{WINTER}', '{WINTER}'), (2, NULL, '{WINTER}', '{WINTER}'), (3, 'g-1', NULL, NULL),
    (4, NULL, '{WINTER}', '{WINTER}'), (5, NULL, '{WINTER}', '{WINTER}'), (6, 'u-3-4', '{WINTER}', '{WINTER}'),
    (7, 'unused', '{WINTER}', '{WINTER}');
INSERT INTO chat_groups VALUES
    (1, 1, 3, 'Group 😀', NULL, '{WINTER}', '{WINTER}'),
    (2, 2, 999, 'without its room', '', '{WINTER}', '{WINTER}'),
    (3, 3, NULL, 'with no room at all', '', NULL, NULL);
INSERT INTO group_members VALUES
    (1, 1, 1, '{WINTER}', '{WINTER}'), (2, 1, 2, '{WINTER}', '{WINTER}'), (3, 1, 3, NULL, NULL),
    (4, 2, 2, '{WINTER}', '{WINTER}'), (5, 2, 9, '{WINTER}', '{WINTER}'), (6, 3, 3, NULL, NULL);
INSERT INTO contact_requests VALUES
    (1, 1, 2, 2, '{WINTER}', '{WINTER}', '{WINTER}'),
    (2, 3, 1, 1, '2037-01-01 00:00:00', '{WINTER}', '{WINTER}'),
    (3, 1, 3, 1, '2037-01-01 00:00:00', '{WINTER}', '{WINTER}'),
    (4, 5, 1, 0, NULL, '{WINTER}', NULL),
    (5, 6, 1, NULL, NULL, NULL, NULL);
INSERT INTO contacts VALUES
    (1, 1, 2, NULL, 1, 1, 2, '{WINTER}', 'old', '{WINTER}', '{WINTER}'),
    (2, 2, 1, NULL, 1, 1, NULL, NULL, NULL, '{WINTER}', '{WINTER}'),
    (3, 1, 2, NULL, 2, 1, 3, '{WINTER}', 'twin', '{WINTER}', '{WINTER}'),
    (4, 2, 1, NULL, 2, 1, 3, '{WINTER}', 'twin', '{WINTER}', '{WINTER}'),
    (5, 1, 2, NULL, 1, NULL, NULL, NULL, NULL, NULL, NULL),
    (6, 1, NULL, 1, 3, 1, NULL, NULL, NULL, '{WINTER}', '{WINTER}'),
    (7, 2, NULL, 1, 3, 1, NULL, NULL, NULL, '{WINTER}', '{WINTER}'),
    (8, 2, NULL, 1, 3, 1, NULL, NULL, NULL, '{WINTER}', '{WINTER}'),
    (9, 3, NULL, 1, 3, 1, NULL, NULL, NULL, '{WINTER}', '{WINTER}'),
    (10, 2, NULL, 2, 4, 1, NULL, NULL, NULL, '{WINTER}', '{WINTER}'),
    (11, 9, NULL, 2, 4, 1, NULL, NULL, NULL, '{WINTER}', '{WINTER}'),
    (12, 4, 3, NULL, 6, 1, NULL, NULL, NULL, '{WINTER}', '{WINTER}'),
    (13, 3, 4, NULL, 6, 1, NULL, NULL, NULL, '{WINTER}', '{WINTER}'),
    (14, 5, 6, NULL, 5, 2, NULL, NULL, NULL, '{WINTER}', '{WINTER}'),
    (15, 5, 6, NULL, 5, 1, NULL, NULL, NULL, '{WINTER}', '{WINTER}'),
    (16, 6, 5, NULL, NULL, 1, NULL, NULL, NULL, '{WINTER}', '{WINTER}');
INSERT INTO chat_messages VALUES
    (1, 1, 1, 1, 'hello', '', '', NULL, 0, '{WINTER}', '{WINTER}'),
    (2, 1, 2, 1, '{LONG}', NULL, NULL, 0, NULL, '2025-07-01 12:00:00', '2025-07-01 12:00:00'),
    (3, 2, 1, 1, 'in the twin room 😀', '', '', 0, 0, '{WINTER}', '{WINTER}'),
    (4, 2, 2, 2, '', 'file/picture.png', 'file/small.png', 0, 0, '{WINTER}', '{WINTER}'),
    (5, 3, 3, 1, 'to the group', '', '', 0, 0, NULL, NULL),
    (6, 1, 1, 3, '', '', '', 1, 0, '{WINTER}', '{WINTER}'),
    (7, 1, 2, 3, '', '', '', 2, 0, '{WINTER}', '{WINTER}'),
    (8, 1, 2, 1, '', '', '', 0, 1, '{WINTER}', '{WINTER}'),
    (9, 4, 9, NULL, 'of no type', '', '', 0, 0, '{WINTER}', '{WINTER}'),
    (10, 5, 5, 1, 'to six', '', '', 0, 0, '{WINTER}', '{WINTER}'),
    (11, 3, 1, 3, '', '', '', 3, 0, '{WINTER}', '{WINTER}');
INSERT INTO message_deliveries VALUES
    (10, 1, 2, 1, '{WINTER}', '{WINTER}'), (11, 2, 1, 1, NULL, NULL), (12, 3, 2, 1, '{WINTER}', '{WINTER}'),
    (13, 4, 1, 1, NULL, '{WINTER}'), (14, 4, 1, 1, '{WINTER}', '{WINTER}'), (20, 5, 1, 1, '{WINTER}', '{WINTER}'),
    (21, 5, 2, 1, '{WINTER}', '{WINTER}'), (30, 8, 1, 1, '{WINTER}', '{WINTER}');
INSERT INTO calls VALUES
    (1, 1, 6, '[1,2]', 3, '{WINTER}', NULL, 0, '{WINTER}', '{WINTER}'),
    (2, 2, 7, '[2, 1]', 4, '{WINTER}', '2025-12-01 09:05:00', 1, '{WINTER}', '{WINTER}'),
    (3, 1, 11, '["2", 3, 999, 2, null, {{"a": 1}}]', 1, NULL, NULL, NULL, NULL, NULL);
INSERT INTO calls VALUES (4, 2, NULL, 'no json', NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO user_settings VALUES (1, 'https://example.org/wall.png', '{WINTER}', '{WINTER}'), (2, NULL, NULL, NULL);
SET time_zone = '+00:00';
UPDATE chat_messages SET created_at = '2025-10-26 00:30:00', updated_at = '2025-10-26 01:30:00' WHERE message_id = 1;
"""  # noqa: S608  the pieces are constants
