<?php
require __DIR__ . '/checks.php';
require 'Predis/autoload.php';

$p = new Predis\Client(['scheme' => 'unix', 'path' => $argv[1]]);
$p->flushdb();

check('get set delete', function () use ($p) {
    same('OK', (string) $p->set('k', 'v', 'EX', 10));
    same('v', $p->get('k'));
    same(null, $p->get('nope'));
    same(1, $p->del('k'));
});
check('many', function () use ($p) {
    same('OK', (string) $p->mset(['a' => '1', 'b' => '2']));
    same(['1', null, '2'], $p->mget(['a', 'nope', 'b']));
    $replies = $p->pipeline(function ($pipe) {
        $pipe->set('p', 1);
        $pipe->incr('p');
    });
    same(2, $replies[1]);
});
check('counters', fn () => same(7, $p->incrby('n', 7)));
check('transactions', function () use ($p) {
    $replies = $p->transaction(function ($tx) {
        $tx->set('t', '1');
        $tx->get('t');
    });
    same('1', $replies[1]);
});
check('check and set', function () use ($p) {
    $p->transaction(['watch' => 't', 'cas' => true, 'retry' => 3], function ($tx) {
        $old = $tx->get('t');
        $tx->multi();
        $tx->set('t', $old . '1');
    });
    same('11', $p->get('t'));
});
check('scan', function () use ($p) {
    $p->mset(['s:1' => 1, 's:2' => 2]);
    $seen = iterator_to_array(new Predis\Collection\Iterator\Keyspace($p, 's:*'), false);
    sort($seen);
    same(['s:1', 's:2'], $seen);
});
check('an unknown script', function () use ($p) {
    try {
        $p->eval('return 1', 0);
    } catch (Predis\Response\ServerException $e) {
        same(true, strpos($e->getMessage(), 'Redis') !== false);
    }
});
check('clear', function () use ($p) {
    $p->flushdb();
    same(0, $p->dbsize());
});
